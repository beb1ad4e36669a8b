package modeltest

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// Hosts read ranges of files that never change, and list a directory that never changes.
const (
	stillWord  = "still"
	stillFiles = 3
	listedSize = 40 // entries of the directory that is listed
)

// stillSize returns the size of unchanging file k.
func (m *model) stillSize(k int) int { return []int{0, 10_000, m.scale.file}[k] }

func (m *model) stillPath(k int) string { return fmt.Sprintf("%s/still-%d", m.dir, k) }

// listedNames returns the names in the listed directory. The value is true for a symbolic link,
// which points to its own name.
func listedNames() map[string]bool {
	names := map[string]bool{}
	for i := range listedSize {
		names[fmt.Sprintf("%s-%d", string(yes("n", 2+i*4)[:1+i]), i)] = i%3 == 0
	}
	for name := range names {
		if len(name) > 0 && name[0] == '\n' {
			panic("no name of a file")
		}
	}
	return names
}

// stillSetup returns the shell commands that make these files.
func (m *model) stillSetup() (script string) {
	for k := range stillFiles {
		script += fmt.Sprintf("; yes %s%d | head -c %d >%s", stillWord, k, m.stillSize(k), m.stillPath(k))
	}
	script += "; mkdir listed; cd listed"
	for _, name := range slices.Sorted(maps.Keys(listedNames())) {
		if listedNames()[name] {
			script += fmt.Sprintf("; ln -s '%s' '%[1]s'", name)
		} else {
			script += fmt.Sprintf("; >'%s'", name)
		}
	}
	return script + "; cd .."
}

// reader is the channel of a read or a list.
type reader struct {
	what   string
	seq    uint32
	out    grants
	stopAt int  // bytes after which the host closes it; 0 for never
	asked  bool // the host closed it
	// content checks each part that comes. ended checks the end: value is that of done.
	content func(b []byte) error
	ended   func(value int) error
	// free is called when the channel has ended or is lost.
	free func()
}

func (r *reader) String() string {
	return fmt.Sprintf("%s: %d of %d bytes granted came", r.what, r.out.came, r.out.granted)
}

func (r *reader) lost() { r.free() }

// take implements [channel].
func (r *reader) take(typ byte, payload []byte) (over bool, err error) {
	if typ == wiretest.Output {
		in, err := wiretest.Parse(typ, payload)
		if err != nil {
			return false, err
		}
		switch data := in.Get("data").Text; {
		case in.Int("stream") != 1 || len(data) == 0 || len(data) > maxOutput:
			return false, fmt.Errorf("output of %d bytes of stream %d", len(data), in.Int("stream"))
		case !r.out.arrived(len(data)):
			return false, fmt.Errorf("output beyond the credit, by %d", r.out.came-r.out.granted)
		default:
			return false, r.content(data)
		}
	}
	d, err := parseDone(typ, payload)
	r.free()
	switch {
	case err != nil:
		return false, err
	case d.errno == unix.ECANCELED && r.asked:
		return true, nil
	case d.errno != 0:
		return false, fmt.Errorf("errno %d (%v)", d.errno, d.errno)
	}
	return true, r.ended(d.value)
}

// next implements [channel].
func (r *reader) next() ([]byte, progress) {
	if r.stopAt > 0 && r.out.came >= r.stopAt && !r.asked {
		r.asked = true
		return wiretest.Make(wiretest.Close, r.seq, 1), awaits
	}
	if n := r.out.next(); n > 0 && !r.asked {
		return wiretest.Make(wiretest.Credit, r.seq, 1, n), awaits
	}
	return nil, awaits
}

// reader makes a reader that grants at least that many bytes at a time.
func (h *host) reader(what string, least int) *reader {
	r := newRand(h.r.Uint64(), 1)
	q := &reader{what: what, seq: h.seq(), out: grants{r: r, least: least}, free: func() {}}
	if h.r.IntN(6) == 0 {
		q.stopAt = 1 + someSize(h.r, 100<<10)
	}
	return q
}

// readFile makes a read of a part of a file.
func (h *host) readFile(c *conn) *request {
	if h.r.IntN(3) == 0 {
		return h.readChanged()
	}
	k := h.r.IntN(stillFiles)
	size := h.m.stillSize(k)
	content := yesText("", fmt.Sprint(stillWord, k), size)
	offset, length := h.someRange(size)
	r := h.reader(fmt.Sprintf("read of %s, %d bytes at %d", h.m.stillPath(k), length, offset), 0)
	due := max(0, size-offset)
	if length > 0 {
		due = min(due, length)
	}
	at := 0
	r.content = func(b []byte) error {
		if at+len(b) > due || !content.has(offset+at, b) {
			return fmt.Errorf("%s at %d", wiretest.Brief(b), offset+at)
		}
		at += len(b)
		return nil
	}
	r.ended = func(value int) error {
		if at != due || value != due {
			return fmt.Errorf("%d bytes came, value %d, want %d", at, value, due)
		}
		return nil
	}
	return &request{what: r.what, seq: r.seq, channel: r,
		frame: wiretest.Make(wiretest.Read, r.seq, 0, offset, length, r.out.begin(),
			h.m.stillPath(k))}
}

// someRange returns a random range of a file. It may be a part, the whole, or beyond the end.
func (h *host) someRange(size int) (offset, length int) {
	if h.r.IntN(3) > 0 {
		offset = h.r.IntN(size + 10)
	}
	if h.r.IntN(2) == 0 {
		length = 1 + someSize(h.r, size)
	}
	return offset, length
}

// list makes a list of the directory that never changes.
func (h *host) list(c *conn) *request {
	const all = 4400 // bytes of the longest possible entry
	r := h.reader("list", all)
	names := listedNames()
	n := len(names)
	r.content = func(b []byte) error {
		for len(b) > 0 {
			entry, rest, err := wiretest.ParseFirst(wiretest.StatResult, b)
			if err != nil {
				return err
			}
			b = rest
			i := infoOf(entry)
			link, is := names[i.name]
			switch {
			case !is:
				return fmt.Errorf("entry %q is unknown or came twice", i.name)
			case link != (i.mode&unix.S_IFMT == unix.S_IFLNK), link && i.target != i.name, !link && i.target != "":
				return fmt.Errorf("entry %+v", i)
			}
			delete(names, i.name)
		}
		return nil
	}
	r.ended = func(value int) error {
		if len(names) > 0 || value != n {
			return fmt.Errorf("value %d, and %d of %d entries did not come", value, len(names), n)
		}
		return nil
	}
	return &request{what: r.what, seq: r.seq, channel: r,
		frame: wiretest.Make(wiretest.List, r.seq, byte(h.r.IntN(2)), r.out.begin(),
			h.m.dir+"/listed")}
}
