package modeltest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// script runs operations on files, each when the one before it is done. Only the script uses the
// files, so each operation has one possible result.
type script struct {
	h     *host
	c     *conn
	steps []func() *request
	now   uint32 // seq of the step that is under way
}

func (s *script) String() string { return fmt.Sprintf("script, %d steps left", len(s.steps)) }
func (s *script) lost()          {}

func (s *script) take(typ byte, payload []byte) (over bool, err error) {
	return false, fmt.Errorf("type 0x%02X %s, which answers nothing", typ, wiretest.Brief(payload))
}

// next implements [channel].
func (s *script) next() ([]byte, progress) {
	if s.c.channels[s.now] != nil || s.c.pending[s.now] != nil {
		return nil, awaits
	}
	if len(s.steps) == 0 {
		return nil, over
	}
	q := s.steps[0]()
	s.steps = s.steps[1:]
	s.now = q.seq
	if q.channel != nil {
		s.c.channels[q.seq] = q.channel
	} else {
		s.c.pending[q.seq] = q
	}
	return q.frame, awaits
}

// script makes a random script.
func (h *host) script(c *conn) *request {
	private := *h
	private.r = newRand(h.r.Uint64(), 3)
	s := &script{h: &private, c: c}
	dir := h.m.dir + "/script-" + h.m.token()
	file, other, link := dir+"/a/b/file", dir+"/other", dir+"/link"
	size := someSize(h.r, h.m.scale.file/4)
	mode := 0o600 | h.r.IntN(0o200)
	one := func(typ byte, payload []byte, check func(byte, []byte) error) func() *request {
		return func() *request {
			seq := h.seq()
			return &request{
				what: fmt.Sprintf("frame of type 0x%02X %s", typ, wiretest.Brief(payload)),
				seq:  seq, frame: wiretest.Raw(typ, seq, payload), prompt: true, check: check,
			}
		}
	}
	change := func(op, flags byte, mode int, path, other string) func() *request {
		return one(wiretest.Change, changePayload(op, flags, mode, path, other), wantDone(0))
	}
	write := func(path string, flags, mode, size int) func() *request {
		return func() *request {
			_, q := s.h.fileWriter(path, flags, mode, noise(s.h.r, size))
			return q
		}
	}
	stat := func(path string, flags byte, want info) func() *request {
		return one(wiretest.Stat, wiretest.Payload(wiretest.Stat, flags, path), func(typ byte, payload []byte) error {
			in, err := wiretest.Parse(typ, payload)
			if err != nil || typ != wiretest.StatResult {
				return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
			}
			got := infoOf(in)
			if got.mode&unix.S_IFMT == unix.S_IFDIR {
				got.size, got.links = want.size, want.links
			}
			if got.mode&unix.S_IFMT == unix.S_IFLNK {
				got.mode = want.mode
			}
			if got != want {
				return fmt.Errorf("%+v, want %+v", got, want)
			}
			return nil
		})
	}
	s.steps = []func() *request{
		change(opMkdir, 0, 0o751, dir, ""),
		stat(dir, 0, info{mode: unix.S_IFDIR | 0o751}),
		write(file, wParents|wMode|wExclusive*h.r.IntN(2), mode, size),
		stat(file, 0, info{mode: unix.S_IFREG | mode, size: size, links: 1}),
		write(file, wInPlace, 0, size/2),
		stat(file, 1, info{mode: unix.S_IFREG | mode, size: size, links: 1}),
		write(file, wInPlace|wAppend, 0, 10),
		stat(file, 0, info{mode: unix.S_IFREG | mode, size: size + 10, links: 1}),
		write(file, wInPlace|wTruncate, 0, size/3),
		change(opRename, 0, 0, file, other),
		one(wiretest.Stat, wiretest.Payload(wiretest.Stat, 0, file), wantDone(unix.ENOENT)),
		change(opLink, 0, 0, file, other),
		stat(other, 2, info{mode: unix.S_IFREG | mode, size: size / 3, links: 2}),
		change(opSymlink, 0, 0, link, "other"),
		stat(link, 2, info{size: len("other"), links: 1, target: "other"}),
		stat(link, 0, info{mode: unix.S_IFREG | mode, size: size / 3, links: 2}),
		one(wiretest.Stat, wiretest.Payload(wiretest.Stat, 1, link), wantDone(unix.ELOOP)),
		change(opChmod, 0, 0o640, link, ""),
		stat(other, 0, info{mode: unix.S_IFREG | 0o640, size: size / 3, links: 2}),
		one(wiretest.Change, changePayload(opRemove, 0, 0, dir+"/a", ""), wantDone(unix.ENOTEMPTY)),
		change(opRemove, 0, 0, file, ""),
		change(opRemove, 0, 0, dir+"/a/b", ""),
		change(opRemove, 0, 0, dir+"/a/", ""),
		change(opRemove, 0, 0, link, ""),
		change(opRemove, 0, 0, other, ""),
		change(opRemove, 0, 0, dir, ""),
		one(wiretest.Stat, wiretest.Payload(wiretest.Stat, 0, dir), wantDone(unix.ENOENT)),
	}
	if n := h.r.IntN(2 * len(s.steps)); n < len(s.steps) {
		s.steps = s.steps[:n]
	}
	return &request{what: s.String(), seq: h.seq(), channel: s}
}
