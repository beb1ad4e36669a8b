package modeltest

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"wick/framing/wiretest"
)

// file is a path that hosts write. A reader may find the content that was last acknowledged. It may
// also find one that was sent, and neither acknowledged nor ruled out. It must never find a mixture
// or a part.
type file struct {
	path   string // as hosts name it
	onDisk string // the target if path is a link, otherwise path
	shared bool   // by all hosts

	// m.mu guards the fields below.
	acked uint64              // hash of the content, or absent
	sent  map[uint64][]writer // contents that may be there now or later
	ever  map[uint64][]writer // contents that were sent since the model last rested
}

// writer identifies the request that sent a content.
type writer struct {
	conn  *conn
	order int // among the requests of all connections
}

func (w writer) String() string { return fmt.Sprintf("%d on %s", w.order, w.conn.name) }

const absent = 0

var hashSeed = maphash.MakeSeed()

func hashOf(content []byte) uint64 { return maphash.Bytes(hashSeed, content) }

func newFile(path, onDisk string, shared bool) *file {
	return &file{path: path, onDisk: onDisk, shared: shared, sent: map[uint64][]writer{}, ever: map[uint64][]writer{}}
}

// posted records that a frame with that content is about to be sent.
func (f *file) posted(by writer, content uint64) {
	f.sent[content] = append(f.sent[content], by)
	f.ever[content] = append(f.ever[content], by)
}

// stored records that the agent has acknowledged a content. Unless the file is shared, this rules
// out what the same connection sent before. It rules out nothing that another, ended connection
// sent, because the agent may read that later.
func (f *file) stored(by writer, content uint64) {
	f.acked = content
	if f.shared {
		return
	}
	for other, writers := range f.sent {
		f.sent[other] = slices.DeleteFunc(writers, func(w writer) bool { return w.conn == by.conn && w.order <= by.order })
	}
}

// may reports whether the file may have that content while no request is under way.
func (f *file) may(content uint64) bool { return content == f.acked || len(f.sent[content]) > 0 }

// view is what a reader of a file may see from a moment on.
type view struct {
	f     *file
	conn  *conn
	last  int // order of what the connection has sent last
	acked uint64
}

func (f *file) view(c *conn) view {
	v := view{f: f, conn: c, acked: f.acked}
	for _, writers := range f.ever {
		for _, by := range writers {
			if by.conn == c {
				v.last = max(v.last, by.order)
			}
		}
	}
	return v
}

// may reports whether the file may have had that content since the view was made. Earlier writes of
// the same connection took effect before the agent read its next frame.
func (v view) may(content uint64) bool {
	if content == v.acked && (v.last == 0 || v.f.shared) {
		return true
	}
	for _, by := range v.f.ever[content] {
		if v.f.shared || by.conn == v.conn && by.order >= v.last || slices.Contains(v.f.sent[content], by) {
			return true
		}
	}
	return false
}

// write makes a write_file to a file of the host or to a shared one, or one that must fail.
func (h *host) write(c *conn) *request {
	m := h.m
	if h.r.IntN(4) == 0 {
		return h.wrongWrite()
	}
	f := h.files[h.r.IntN(len(h.files))]
	if h.r.IntN(3) == 0 {
		f = m.shared[h.r.IntN(len(m.shared))]
	}
	size := someSize(h.r, m.scale.file)
	if m.scale.huge && h.r.IntN(60) == 0 {
		size = wiretest.MaxLength - 1000 - h.r.IntN(3) // leaves room for the content in a reply
	}
	content := noise(h.r, size)
	if size > 16 {
		copy(content, m.token()) // makes every content unique
	}
	sum := hashOf(content)
	seq := h.seq()
	by := writer{c, int(seq)}
	m.mu.Lock()
	f.posted(by, sum)
	m.mu.Unlock()
	return &request{
		what: "write_file of " + f.path, seq: seq, prompt: true,
		frame: wiretest.Make(wiretest.WriteFile, seq, f.path, 0, content),
		check: func(typ byte, payload []byte) error {
			if err := wantWritten(typ, payload, true); err != nil {
				return err
			}
			m.mu.Lock()
			f.stored(by, sum)
			m.mu.Unlock()
			return nil
		},
	}
}

func wantWritten(typ byte, payload []byte, want bool) error {
	in, err := wiretest.Parse(typ, payload)
	if err != nil || typ != wiretest.WriteFileResult {
		return fmt.Errorf("type 0x%02X %s, want a write_file_result", typ, wiretest.Brief(payload))
	}
	ok, reason := in.Int("success"), in.Text("error")
	if (ok == 1) != want || want == (len(reason) > 0) {
		return fmt.Errorf("success %d, reason %q, want success %v", ok, reason, want)
	}
	return nil
}

// wrongWrite makes a write_file that must fail, or one to /dev/null.
func (h *host) wrongWrite() *request {
	seq, dir := h.seq(), h.m.dir
	wrong := []string{
		"", dir, dir + "/", dir + "/new/", dir + "/plain/below", dir + "/" + strings.Repeat("n", 256), "/dev/full",
		dir + "/hold/below", dir + "/loop", dir + "/unread", "/" + strings.Repeat("long/", 1000) + "path", "/dev/null",
	}
	path := wrong[h.r.IntN(len(wrong))]
	size := 1 + someSize(h.r, h.m.scale.file)
	if h.m.scale.huge && h.r.IntN(60) == 0 {
		path = "/dev/null"
		size = wiretest.MaxLength - 5 - 7 - len(path) // makes the longest possible frame
	}
	return &request{
		what: "write_file of " + wiretest.Brief([]byte(path)), seq: seq, frame: wiretest.Make(wiretest.WriteFile, seq, path, 0, noise(h.r, size)),
		prompt: true, check: func(typ byte, payload []byte) error { return wantWritten(typ, payload, path == "/dev/null") },
	}
}

// read makes an exec that prints a file. It checks the content against what the file may have had
// since the request was made.
func (h *host) read(c *conn) *request {
	m := h.m
	f := h.files[h.r.IntN(len(h.files))]
	if h.r.IntN(2) == 0 {
		f = m.shared[h.r.IntN(len(m.shared))]
	}
	seq := h.seq()
	m.mu.Lock()
	v := f.view(c)
	m.mu.Unlock()
	command := "cat " + f.path + " || echo none"
	return &request{
		what: "exec of " + command, seq: seq, lost: m.ranOn,
		frame: wiretest.Raw(wiretest.Exec, seq, execPayload(0, command, false, nil)),
		check: func(typ byte, payload []byte) error {
			if typ == wiretest.Error && m.crowded(payload) {
				return nil
			}
			r, err := parseResult(typ, payload)
			if err != nil || typ != wiretest.ExecResult || r.code != 0 {
				return fmt.Errorf("type 0x%02X %s, want an exec_result", typ, wiretest.Brief(payload))
			}
			content := hashOf(r.stdout)
			if len(r.stderr) > 0 && bytes.Equal(r.stdout, []byte("none\n")) {
				content = absent
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if v.may(content) {
				return nil
			}
			return fmt.Errorf("%s has an impossible content: %s (%d bytes), which %s; this connection last sent %d of %v; acknowledged before: %x",
				f.path, wiretest.Brief(r.stdout), len(r.stdout), m.origin(content), v.last, f.ever, v.acked)
		},
	}
}

// origin describes where a content was sent since the model last rested. m.mu is held.
func (m *model) origin(content uint64) string {
	text := fmt.Sprintf("is %x", content)
	for _, f := range m.allFiles() {
		for _, by := range f.ever[content] {
			text += fmt.Sprintf(", was sent as %d to %s on %s", by.order, f.path, by.conn.name)
		}
	}
	return text
}

// rested checks the content of a file while no request is under way, and makes it the acknowledged
// one. content is nil if the file does not exist.
func (f *file) rested(content []byte) error {
	sum := uint64(absent)
	if content != nil {
		sum = hashOf(content)
	}
	if !f.may(sum) {
		was := "that was sent before"
		if f.ever[sum] == nil {
			was = "that was never sent, or not as a whole"
		}
		return fmt.Errorf("%s has at rest a content %s: %d bytes %s, of %d possible", f.onDisk, was,
			len(content), wiretest.Brief(content), len(f.sent)+1)
	}
	f.acked = sum
	clear(f.sent)
	clear(f.ever)
	return nil
}

// allFiles returns the files of all hosts and the shared ones.
func (m *model) allFiles() []*file {
	all := slices.Clone(m.shared)
	for _, h := range m.hosts {
		all = append(all, h.files...)
	}
	return all
}
