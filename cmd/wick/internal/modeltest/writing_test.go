package modeltest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// changed is a file that one host replaces by writes of the extension, and reads. The agent reads a
// connection's next frame before a write is done, so write_file does not use these files.
type changed struct {
	path string

	mu sync.Mutex
	// may has the possible contents, nil for a missing file. A content sent on an ended connection
	// may still come until the model rests. A write that is done rules out the earlier contents of
	// its connection.
	may  []version
	busy int // writes and reads under way
}

type version struct {
	content []byte
	write   uint32 // seq of the write
	lost    bool
}

// maxVersions limits the possible contents of a file, because each is held in memory.
const maxVersions = 10

func (f *changed) has(b []byte, offset, length int) bool {
	for _, v := range f.may {
		part := v.content[min(offset, len(v.content)):]
		if length > 0 {
			part = part[:min(length, len(part))]
		}
		if bytes.Equal(part, b) {
			return true
		}
	}
	return false
}

// rested checks the content at rest and makes it the only possible one.
func (f *changed) rested(content []byte) error {
	for _, v := range f.may {
		if (v.content == nil) == (content == nil) && bytes.Equal(v.content, content) {
			f.may, f.busy = []version{{content: v.content}}, 0
			return nil
		}
	}
	return fmt.Errorf("%s has an impossible content at rest: %s (%d bytes), of %d possible", f.path,
		wiretest.Brief(content), len(content), len(f.may))
}

// fileWriter is the channel of a write.
type fileWriter struct {
	what    string
	seq     uint32
	r       *rand.Rand
	content []byte
	at      int
	opened  bool
	credit  int
	granted int
	ended   bool
	giveUp  int // offset at which the host cancels the write, or -1
	gaveUp  bool
	other   []byte // a request with the same seq, which is in use
	refused bool   // other was refused
	// over is called when the write has ended, with c.mu held. gone is called if the connection
	// ends first.
	over func(written bool)
	gone func()
}

func (f *fileWriter) String() string {
	return fmt.Sprintf("%s: %d of %d bytes sent, credit %d, ended %v, given up %v", f.what, f.at,
		len(f.content), f.credit, f.ended, f.gaveUp)
}

func (f *fileWriter) lost() { f.gone() }

// take implements [channel].
func (f *fileWriter) take(typ byte, payload []byte) (over bool, err error) {
	switch {
	case typ == wiretest.Credit:
		in, err := wiretest.Parse(typ, payload)
		if err != nil {
			return false, err
		}
		n := in.Int("bytes")
		f.credit += n
		f.granted += n
		if in.Int("stream") != 0 || n == 0 || !f.opened && n != writeWindow || f.credit > writeWindow {
			return false, fmt.Errorf("credit %s", wiretest.Brief(payload))
		}
		f.opened = true
		return false, nil
	case typ == wiretest.Error && f.other != nil && !f.refused:
		f.refused = true
		return false, wantError(fmt.Sprintf("seq %d is in use", f.seq))(typ, payload)
	}
	d, err := parseDone(typ, payload)
	switch {
	case err != nil:
		return false, err
	case d.errno == unix.ECANCELED && f.gaveUp:
	case f.gaveUp || !f.ended || d.errno != 0 || d.value != len(f.content) || f.other != nil && !f.refused:
		return false, fmt.Errorf("errno %d (%v), value %d", d.errno, d.errno, d.value)
	}
	f.over(!f.gaveUp)
	return true, nil
}

// next implements [channel].
func (f *fileWriter) next() (b []byte, how progress) {
	if !f.opened || f.ended || f.gaveUp {
		return nil, awaits
	}
	if f.other != nil && f.at == 0 && !f.refused {
		b = append(b, f.other...)
	}
	for f.at < len(f.content) && f.credit > 0 {
		if f.giveUp >= 0 && f.at >= f.giveUp {
			f.gaveUp = true
			return append(b, wiretest.Make(wiretest.Close, f.seq, 1)...), awaits
		}
		n := min(f.credit, len(f.content)-f.at)
		if f.r.IntN(2) == 0 {
			n = 1 + f.r.IntN(n)
		}
		b = append(b, wiretest.Raw(wiretest.Input, f.seq, f.content[f.at:f.at+n])...)
		f.at += n
		f.credit -= n
	}
	if f.at == len(f.content) {
		f.ended = true
		b = append(b, wiretest.Make(wiretest.Close, f.seq, 0)...)
		if f.r.IntN(3) == 0 {
			b = append(b, wiretest.Raw(wiretest.Input, f.seq, noise(f.r, f.r.IntN(f.credit+1)))...)
		}
	}
	return b, awaits
}

// fileWriter makes the channel of a write and the request that opens it.
func (h *host) fileWriter(path string, flags, mode int, content []byte) (*fileWriter, *request) {
	f := &fileWriter{
		what: "write of " + path, seq: h.seq(), r: newRand(h.r.Uint64(), 2), content: content,
		giveUp: -1, over: func(bool) {}, gone: func() {},
	}
	return f, &request{what: f.what, seq: f.seq, channel: f,
		frame: wiretest.Raw(wiretest.Write, f.seq, writePayload(flags, mode, 0, path))}
}

// writeFile makes a write that replaces one of the host's files.
func (h *host) writeFile(c *conn) *request {
	f := h.changed[h.r.IntN(len(h.changed))]
	content := noise(h.r, someSize(h.r, h.m.scale.file))
	giveUp := -1
	if h.r.IntN(5) == 0 {
		giveUp = h.r.IntN(len(content) + 1)
	}
	inUse := h.r.IntN(5) == 0
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy > 0 || len(f.may) >= maxVersions {
		return h.ping()
	}
	f.busy++
	fw, q := h.fileWriter(f.path, 0, 0, content)
	f.may = append(f.may, version{content: content, write: fw.seq})
	fw.giveUp = giveUp
	if inUse {
		fw.other = wiretest.Raw([]byte{wiretest.Read, wiretest.List}[h.r.IntN(2)], fw.seq,
			wiretest.Payload(wiretest.Read, 0, 0, 0, 9, f.path))
		if fw.other[4] == wiretest.List {
			fw.other = wiretest.Make(wiretest.List, fw.seq, 0, 9, h.m.dir)
		}
	}
	fw.over = func(written bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy--
		kept := f.may[:0]
		for _, v := range f.may {
			if v.lost || (v.write == fw.seq) == written {
				kept = append(kept, v)
			}
		}
		f.may = kept
	}
	fw.gone = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy--
		for i, v := range f.may {
			if v.write == fw.seq {
				f.may[i].lost = true
			}
		}
	}
	return q
}

// readChanged makes a read of one of the host's files.
func (h *host) readChanged() *request {
	f := h.changed[h.r.IntN(len(h.changed))]
	offset, length := h.someRange(h.m.scale.file)
	r := h.reader(fmt.Sprintf("read of %s, %d bytes at %d", f.path, length, offset), 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy > 0 {
		return h.ping()
	}
	exact := len(f.may) == 1
	missing := f.may[0].content == nil
	if missing && exact {
		return &request{
			what: r.what, seq: r.seq, prompt: true, check: wantDone(unix.ENOENT),
			frame: wiretest.Make(wiretest.Read, r.seq, 0, offset, length, 1, f.path),
		}
	}
	if missing {
		return h.ping()
	}
	// A write of a lost connection may take effect meanwhile. Its content is among the possible
	// ones.
	f.busy++
	var got []byte
	r.content = func(b []byte) error {
		got = append(got, b...)
		return nil
	}
	r.free = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy--
	}
	r.ended = func(value int) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if value != len(got) || !f.has(got, offset, length) {
			return fmt.Errorf("value %d, impossible content: %s (%d bytes), of %d possible", value,
				wiretest.Brief(got), len(got), len(f.may))
		}
		return nil
	}
	return &request{what: r.what, seq: r.seq, channel: r,
		frame: wiretest.Make(wiretest.Read, r.seq, 0, offset, length, r.out.begin(), f.path)}
}
