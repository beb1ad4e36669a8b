package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"wick/framing"
	"wick/reactor"
)

// extensionTamer is a tamer's part in the extension: files, which are kept in a directory of their own. What it was not taught becomes a type that
// there is not.
type extensionTamer struct {
	asked   bool
	granted map[uint32]uint64 // output, by seq of a channel
	room    map[uint32]int    // input that a write is sure to take
}

// untaught is no message's type.
const untaught = framing.Type(0x42)

// ofChannels marks the seqs of channels, so that no done can be taken for another's.
const ofChannels = 1 << 31

// extend tames a frame of the extension, whose payload is whole or none of it counts.
func (m *tamer) extend(t framing.Type, seq uint32, b []byte, whole bool) (framing.Type, uint32, []byte) {
	x := &m.extension
	if t < framing.TypeHello || t > framing.TypePower || t == framing.TypeHello && !x.asked {
		return t, seq, b
	}
	long := len(b) > reactor.BufferSize-framing.HeaderSize
	if !x.asked || !whole || long && t == framing.TypeInput {
		return untaught, seq, b
	}
	switch t {
	case framing.TypeHello:
		return t, seq, b
	case framing.TypeStat, framing.TypeChange:
		seq &^= ofChannels
	case framing.TypeRead, framing.TypeList, framing.TypeWrite, framing.TypeInput, framing.TypeClose, framing.TypeCredit, framing.TypeResize:
		seq |= ofChannels
	default:
		return untaught, seq, b
	}
	if long {
		return t, seq, b
	}
	return m.extendPayload(t, seq, b)
}

// extendPayload tames a payload, and notes what it grants. What does not parse stays.
func (m *tamer) extendPayload(t framing.Type, seq uint32, b []byte) (framing.Type, uint32, []byte) {
	const most = 1<<20 - 1 // bytes; more would take long and tell nothing new
	x := &m.extension
	payload := func(frame []byte) (framing.Type, uint32, []byte) { return t, seq, frame[framing.HeaderSize:] }
	switch t {
	case framing.TypeStat:
		if flags, path, err := framing.ParseStat(b); err == nil {
			return payload(framing.AppendStat(nil, seq, flags, m.extendPath(path)))
		}
	case framing.TypeChange:
		if c, err := framing.ParseChange(b); err == nil {
			c.Path, c.Other, c.Mode = m.extendPath(c.Path), m.extendPath(c.Other), c.Mode|0o700
			return payload(framing.AppendChange(nil, seq, &c))
		}
	case framing.TypeRead:
		if r, err := framing.ParseRead(b); err == nil {
			r.Path, r.Credit = m.extendPath(r.Path), r.Credit&most
			x.opened(seq, 0)
			x.granted[seq] += uint64(r.Credit)
			return payload(framing.AppendRead(nil, seq, &r))
		}
	case framing.TypeList:
		if l, err := framing.ParseList(b); err == nil {
			l.Path, l.Credit = m.extendPath(l.Path), l.Credit&most
			x.opened(seq, 0)
			x.granted[seq] += uint64(l.Credit)
			return payload(framing.AppendList(nil, seq, &l))
		}
	case framing.TypeWrite:
		if w, err := framing.ParseWrite(b); err == nil {
			w.Path, w.Offset, w.Mode = m.extendPath(w.Path), w.Offset&most, w.Mode|0o600
			x.opened(seq, writeWindow)
			return payload(framing.AppendWrite(nil, seq, &w))
		}
	case framing.TypeCredit:
		if s, n, err := framing.ParseCredit(b); err == nil {
			x.granted[seq] += uint64(n & most)
			return payload(framing.AppendCredit(nil, seq, s, n&most))
		}
	case framing.TypeInput:
		if x.room[seq] < len(b) {
			return untaught, seq, b // it may be the end of the connection, or not any more
		}
		x.room[seq] -= len(b)
	}
	return t, seq, b
}

// opened notes that a channel is asked for. Which one has the seq is not sure if it is not the first.
func (x *extensionTamer) opened(seq uint32, room int) {
	if _, used := x.room[seq]; used {
		room = 0
	}
	x.room[seq] = room
}

// extendPath puts a path below the directory, so that no name of a link leads out of it either.
func (m *tamer) extendPath(path []byte) []byte {
	path = append([]byte(m.root+"/=/"), bytes.ReplaceAll(path, []byte(".."), []byte("__"))...)
	return path[:min(len(path), 5000)]
}

// oweExtended notes what is owed for a whole frame of the extension, and reports whether it is one.
func (m *tamer) oweExtended(t framing.Type, seq uint32, b []byte) bool {
	o := owed{seq: seq, prompt: true}
	x := &m.extension
	if t == framing.TypeHello && !x.asked {
		version, err := framing.ParseHello(b)
		if err != nil || version == 0 {
			return false // as unknown as ever
		}
		*x = extensionTamer{asked: true, granted: map[uint32]uint64{}, room: map[uint32]int{}}
		m.owed = append(m.owed, owed{seq: seq, reply: framing.TypeHelloResult, prompt: true})
		return true
	}
	if !x.asked || t < framing.TypeHello || t > framing.TypePower || !t.FromHost() {
		return false
	}
	var err error
	switch t {
	case framing.TypeHello:
		var version uint16
		o.reply = framing.TypeHelloResult
		if version, err = framing.ParseHello(b); version == 0 {
			o.reply = framing.TypeError
		}
	case framing.TypeStat:
		_, _, err = framing.ParseStat(b)
		o.reply, o.done = framing.TypeStatResult, true
	case framing.TypeChange:
		_, err = framing.ParseChange(b)
		o.reply = framing.TypeDone
	case framing.TypeRead:
		_, err = framing.ParseRead(b)
		o.channel()
	case framing.TypeList:
		_, err = framing.ParseList(b)
		o.channel()
	case framing.TypeWrite:
		_, err = framing.ParseWrite(b)
		o.channel()
	case framing.TypeClose:
		_, err = framing.ParseClose(b)
	case framing.TypeCredit:
		_, _, err = framing.ParseCredit(b)
	case framing.TypeResize:
		_, _, err = framing.ParseResize(b)
	}
	if err != nil || len(b) > reactor.BufferSize-framing.HeaderSize {
		o = owed{seq: seq, reply: framing.TypeError, prompt: true}
	}
	if o.reply != 0 {
		m.owed = append(m.owed, o)
	}
	return true
}

// channel: it may end at any time, or with the connection.
func (o *owed) channel() { o.reply, o.prompt, o.opens = framing.TypeDone, false, true }

// mayEnd reports whether a frame of another type than was expected answers what is owed: done for what could not be, error for a channel too many.
func (o *owed) mayEnd(t framing.Type, payload []byte) bool {
	if t == framing.TypeError && o.opens {
		text, err := framing.ParseError(payload)
		return err == nil && (bytes.HasSuffix(text, []byte("is in use")) || bytes.HasPrefix(text, []byte("too many channels")))
	}
	return t == framing.TypeDone && o.done
}

// flows takes the frames that come while a channel is open, and reports whether it is one.
func (m *tamer) flows(t framing.Type, seq uint32, payload []byte) (bool, error) {
	x := &m.extension
	switch t {
	case framing.TypeOutput:
		s, data, err := framing.ParseOutput(payload)
		if err != nil || s != framing.StreamOutput || len(data) == 0 || len(data) > framing.MaxOutputData || uint64(len(data)) > x.granted[seq] {
			return true, fmt.Errorf("output of %d bytes on stream %d of seq %d, with %d granted: %v", len(data), s, seq, x.granted[seq], err)
		}
		x.granted[seq] -= uint64(len(data))
		return true, nil
	case framing.TypeCredit:
		s, n, err := framing.ParseCredit(payload)
		if err != nil || s != framing.StreamInput || n > writeWindow || seq&ofChannels == 0 {
			return true, fmt.Errorf("credit of %d on stream %d of seq %d: %v", n, s, seq, err)
		}
		return true, nil
	}
	return false, nil
}

// extensionStreams are what fuzzing the extension begins with.
func extensionStreams() (all [][]byte) {
	hello := framing.AppendHello(nil, 1, 1)
	const seq = ofChannels | 1
	path := []byte("dir/file")
	change := func(op framing.ChangeOp, flags framing.FileFlags, path, other string) []byte {
		return framing.AppendChange(nil, 2, &framing.Change{Op: op, Flags: flags, Path: []byte(path), Other: []byte(other)})
	}
	write := func(seq uint32, flags framing.WriteFlags) []byte {
		w := framing.AppendWrite(nil, seq, &framing.Write{Flags: flags, Path: path})
		w = append(w, inputFrame(seq, bytes.Repeat([]byte("x"), 40000))...)
		return append(w, closeFrame(seq, framing.StreamInput)...)
	}
	all = [][]byte{
		change(framing.ChangeMkdir, framing.FileParents, "dir", ""),
		write(seq, framing.WriteParents),
		write(seq+1, framing.WriteInPlace|framing.WriteSync|framing.WriteTruncate|framing.WriteSafe),
		write(seq+2, framing.WriteExclusive|framing.WriteMode),
		framing.AppendStat(nil, 3, framing.FileSafe, path),
		readFrameOf(seq+3, 50000, "dir/file"), readFrameOf(seq+4, 10, "dir/file"),
		framing.AppendCredit(nil, seq+4, framing.StreamOutput, 100),
		closeFrame(seq+4, framing.StreamOutput),
		listFrame(seq+5, 1000, "dir"), listFrame(seq+5, 0, "dir"),
		change(framing.ChangeSymlink, 0, "link", "dir/file"), change(framing.ChangeLink, 0, "dir/other", "dir/file"),
		change(framing.ChangeRename, framing.FileNoReplace, "dir/other", "dir/third"), change(framing.ChangeMode, 0, "link", ""),
		change(framing.ChangeTime, framing.FileNoFollow, "link", ""), change(framing.ChangeRemove, framing.FileSafe, "link", ""),
		change(99, 0, "link", ""),
		framing.AppendResize(nil, seq+5, 1, 1),
		binary.BigEndian.AppendUint32(nil, 4),
	}
	whole := bytes.Join(append([][]byte{hello}, all...), nil)
	for i, one := range all {
		all[i] = append(bytes.Clone(hello), one...)
	}
	return append(all, whole, whole[:len(whole)/2])
}
