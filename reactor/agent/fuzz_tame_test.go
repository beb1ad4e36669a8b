package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// tamer makes of bytes that a fuzzer came up with bytes that do no harm, and knows what is owed for them. A command that would run
// becomes one of a few, a path is put below a directory, and all else stays: what does not parse above all.
type tamer struct {
	root    string
	out     []byte
	refused bool // it ends with a length that cannot be
	owed    []owed
	writes  []*fuzzFile // in the order of their requests
	files   map[string][]byte

	extension extensionTamer
}

// owed is what a request is owed.
type owed struct {
	seq     uint32
	reply   framing.Type
	message string // of an error, if it is known
	prompt  bool   // it is answered before the next frame is looked at
	done    bool   // or a done
	opens   bool   // a channel
}

type fuzzFile struct {
	path    string
	content []byte
	append  bool
}

// harmless are commands that a fuzzer may run, chosen by length of its own. The last needs a timeout.
var harmless = []string{
	":", "exit 3", "echo out; echo err >&2", "kill -9 $$", "kill -15 $$", "exec >&- 2>&-", "cat", "/nonexistent", "printf '%0100000d' 1", ": &",
	"while :; do :; done",
}

// stream tames a stream.
func (m *tamer) stream(b []byte) {
	for len(b) >= framing.HeaderSize {
		length := binary.BigEndian.Uint32(b)
		if length < framing.MinLength || length > framing.MaxLength {
			break
		}
		t, seq, payload := framing.Type(b[4]), binary.BigEndian.Uint32(b[5:]), b[framing.HeaderSize:]
		size := int(length - framing.MinLength)
		whole := size <= len(payload)
		b = nil
		if whole {
			payload, b = payload[:size], payload[size:]
			t, seq, payload = m.extend(t, seq, payload, true)
			size = len(payload)
		} else {
			t, seq, _ = m.extend(t, seq, payload, false)
		}
		tamed, size := m.payload(t, payload, size)
		m.out = framing.AppendHeader(m.out, t, seq, size)
		m.out = append(m.out, tamed...)
		if !whole {
			return
		}
		m.owe(t, seq, tamed)
	}
	m.out = append(m.out, b...)
	if len(b) >= 4 {
		length := binary.BigEndian.Uint32(b)
		m.refused = length < framing.MinLength || length > framing.MaxLength
	}
}

// payload tames a payload, or the beginning of one of that size.
func (m *tamer) payload(t framing.Type, b []byte, size int) ([]byte, int) {
	switch t {
	case framing.TypeExec, framing.TypeSpawnWatch:
		var e framing.Exec
		if len(b) < size || framing.ParseExec(t, b, &e) != nil {
			return b, size
		}
		b = tameExec(t, &e)
		return b, len(b)
	case framing.TypeWriteFile:
		tamed := m.tamePath(b)
		size += len(tamed) - len(b)
		if size > framing.MaxPayload {
			// It was that long that there is no room for the directory: cut off before the path, for good.
			return b[:min(len(b), 2)], framing.MaxPayload
		}
		return tamed, size
	}
	return b, size
}

func tameExec(t framing.Type, e *framing.Exec) []byte {
	command := harmless[len(e.Command)%len(harmless)]
	if e.TimeoutMS > 0 {
		e.TimeoutMS = 1 + e.TimeoutMS%20
	} else if command == harmless[len(harmless)-1] {
		command = harmless[0]
	}
	command += " #"
	var env framing.Env
	for key, value := range e.Env.All {
		tame := append([]byte("_"), key[1:]...) // no PATH, no LD_PRELOAD
		env.Add(tame, value)
	}
	if room := len(e.Command) - len(command); room > 0 {
		command += string(bytes.Repeat([]byte("x"), room))
	}
	tamed := framing.Exec{TimeoutMS: e.TimeoutMS, Command: []byte(command), Env: env, Root: e.Root && unix.Geteuid() == 0, Stream: e.Stream}
	if len(e.Log) > 0 {
		tamed.Log = []byte("/dev/null")
	}
	return framing.AppendExec(nil, t, 0, &tamed)[framing.HeaderSize:]
}

// tamePath puts the path of a write_file below the directory, if it is all there.
func (m *tamer) tamePath(b []byte) []byte {
	if len(b) < 2 {
		return b
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || len(b) < 2+n {
		if n > 0 {
			return b[:2] // nothing of a path that is cut off is needed
		}
		return b
	}
	path := bytes.ReplaceAll(b[2:2+n], []byte(".."), []byte("__"))
	path = append([]byte(m.root+"/"), path...)
	path = path[:min(len(path), framing.MaxText)]
	tamed := binary.BigEndian.AppendUint16(nil, uint16(len(path)))
	tamed = append(tamed, path...)
	rest := bytes.Clone(b[2+n:])
	if len(rest) > 0 && unix.Geteuid() != 0 {
		rest[0] &^= 1 // no sudo
	}
	return append(tamed, rest...)
}

// owe notes what is owed for a whole frame.
func (m *tamer) owe(t framing.Type, seq uint32, b []byte) {
	if m.oweExtended(t, seq, b) {
		return
	}
	o := owed{seq: seq, prompt: true}
	var err error
	switch t {
	case framing.TypePing:
		o.reply = framing.TypePong
	case framing.TypeShutdown:
		o.reply, o.prompt = framing.TypeShutdownAck, false
	case framing.TypeExec, framing.TypeSpawnWatch:
		var e framing.Exec
		err = framing.ParseExec(t, b, &e)
		if o.reply = framing.TypeSpawnResult; t == framing.TypeExec {
			o.reply, o.prompt = framing.TypeExecResult, false
		}
	case framing.TypeWriteFile:
		var w framing.WriteFile
		var content []byte
		content, err = framing.ParseWriteFile(b, &w)
		if o.reply = framing.TypeWriteFileResult; err == nil {
			m.writes = append(m.writes, &fuzzFile{string(w.Path), content, w.Append})
		}
	case framing.TypeError:
		return
	default:
		o.reply, o.message = framing.TypeError, fmt.Sprintf("unknown message type 0x%02X", byte(t))
	}
	if err != nil {
		o.reply, o.prompt = framing.TypeError, true
	}
	m.owed = append(m.owed, o)
}

// reply holds a frame against what is owed.
func (m *tamer) reply(t framing.Type, seq uint32, payload []byte) error {
	if flows, err := m.flows(t, seq, payload); flows {
		return err
	}
	for i, o := range m.owed {
		if o.seq != seq || o.reply != t && (t != framing.TypeError || !m.mayFail(o, payload)) && !o.mayEnd(t, payload) {
			continue
		}
		if o.message != "" {
			if text, err := framing.ParseError(payload); err != nil || string(text) != o.message {
				continue
			}
		}
		m.owed = append(m.owed[:i], m.owed[i+1:]...)
		return m.written(t, payload)
	}
	if m.refused && t == framing.TypeError && seq == 0 {
		return nil // it says why
	}
	return fmt.Errorf("%v seq %d %.100q answers nothing", t, seq, payload)
}

// mayFail reports whether an error may be the answer where another was expected: a command that was too long, or one too many.
func (m *tamer) mayFail(o owed, payload []byte) bool {
	text, err := framing.ParseError(payload)
	if err != nil || o.reply != framing.TypeExecResult && o.reply != framing.TypeSpawnResult {
		return false
	}
	return bytes.HasPrefix(text, []byte("too many commands running")) || o.reply == framing.TypeSpawnResult && bytes.Contains(text, []byte("too long"))
}

// written takes a write_file_result, which come in the order of their requests.
func (m *tamer) written(t framing.Type, payload []byte) error {
	if t != framing.TypeWriteFileResult {
		return nil
	}
	f := m.writes[0]
	m.writes = m.writes[1:]
	_, ok, err := framing.ParseWriteFileResult(payload)
	if err != nil {
		return err
	}
	if ok {
		if m.files == nil {
			m.files = map[string][]byte{}
		}
		path := filepath.Clean(f.path)
		if f.append {
			f.content = slices.Concat(m.files[path], f.content)
		}
		m.files[path] = f.content
	}
	return nil
}

// done wants nothing to be owed any more, and the files to be as they were written last.
func (m *tamer) done() error {
	for _, o := range m.owed {
		if o.prompt || !m.refused && !o.opens {
			return fmt.Errorf("seq %d was not answered by %v", o.seq, o.reply)
		}
	}
	for path, content := range m.files {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content) {
			return fmt.Errorf("%q has %d bytes, want %d; %v", path, len(got), len(content), err)
		}
	}
	return nil
}
