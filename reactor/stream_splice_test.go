package reactor

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// splicer puts a stream on a loop, with a pipe that it can splice from.
func splicer(t *testing.T) (l *Loop, h *hand, far, r, w int) {
	l = newLoop(t, 2)
	h, far = open(t, l)
	r, w = pipe(t)
	t.Cleanup(func() { unix.Close(r); unix.Close(w) })
	return l, h, far, r, w
}

// frame splices up to n bytes as a frame, and flushes.
func (h *hand) frame(t *testing.T, r, n int) {
	t.Helper()
	got, err := h.s.SpliceFrom(r, n)
	if err != nil || got == 0 {
		t.Fatalf("SpliceFrom = %d, %v", got, err)
	}
	h.s.CommitSpliced(append(h.s.Space(1), '['))
	h.s.Flush()
}

// TestSpliceOrder queues text before, between and behind spliced bytes, while the socket is full.
func TestSpliceOrder(t *testing.T) {
	t.Parallel()
	l, h, far, r, w := splicer(t)
	full := fill(t, h.s.FD())
	want := ""
	for round := range 3 {
		body := strings.Repeat(string(rune('a'+round)), 50_000+round)
		write(t, w, body)
		h.say("before ")
		h.frame(t, r, 1<<20)
		if n, err := h.s.SpliceFrom(r, 1); n != 0 || err != unix.EBUSY {
			t.Errorf("a second SpliceFrom = %d, %v", n, err)
		}
		h.say("] behind ")
		h.s.Commit(append(h.s.Space(30_000), make([]byte, 100)...))
		h.s.Send(&text{body: []byte("source "), step: 3})
		want += "before [" + body + "] behind " + string(make([]byte, 100)) + "source "
		if h.s.Idle() || h.s.Queued() <= len(body) {
			t.Fatalf("%d bytes queued", h.s.Queued())
		}
		var got []byte
		until(t, l, "the text", func() bool { got = append(got, drain(t, far)...); return len(got) >= full+len(want) })
		if string(got[full:]) != want || !h.s.Idle() {
			t.Fatalf("round %d: %d bytes, want %d", round, len(got)-full, len(want))
		}
		full, want = fill(t, h.s.FD()), ""
	}
	until(t, l, "the last turn", func() bool { drain(t, far); return h.s.Idle() })
	allFree(t, l)
}

// TestSpliceNothing splices from pipes that have nothing. The stream goes on as before.
func TestSpliceNothing(t *testing.T) {
	t.Parallel()
	l, h, far, r, _ := splicer(t)
	if n, err := h.s.SpliceFrom(r, 100); n != 0 || err != unix.EAGAIN {
		t.Errorf("of an empty pipe: %d, %v", n, err)
	}
	ended, w := pipe(t)
	closeFD(t, w)
	defer closeFD(t, ended)
	if n, err := h.s.SpliceFrom(ended, 100); n != 0 || err != nil {
		t.Errorf("of a pipe at its end: %d, %v", n, err)
	}
	if n, err := h.s.SpliceFrom(-1, 100); n != 0 || err != unix.EBADF {
		t.Errorf("of no pipe: %d, %v", n, err)
	}
	h.say("on")
	if got := string(drain(t, far)); got != "on" || !h.s.Idle() {
		t.Errorf("got %q", got)
	}
	allFree(t, l)
}

// TestSplicePipeIsClosed closes streams that have spliced. A copy of one end of the pipe tells
// that the stream has closed the other.
func TestSplicePipeIsClosed(t *testing.T) {
	t.Parallel()
	for end, gone := range []int16{unix.POLLHUP, unix.POLLERR} {
		_, h, _, r, w := splicer(t)
		write(t, w, "text")
		h.frame(t, r, 100)
		mine, err := unix.FcntlInt(uintptr(h.s.pipe[end]), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		h.s.Close()
		state := []unix.PollFd{{Fd: int32(mine)}}
		if _, err := unix.Poll(state, 0); err != nil || state[0].Revents&gone == 0 {
			t.Errorf("end %d of the pipe: poll = %#x, %v; want %#x, because the other is closed",
				end, state[0].Revents, err, gone)
		}
		closeFD(t, mine)
	}
}

// TestSpliceOther refuses a socket that takes a pipe's pages one by one.
func TestSpliceOther(t *testing.T) {
	t.Parallel()
	l, _, _, r, w := splicer(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{}
	h.s.Open(l, fd, "other", h)
	write(t, w, "text")
	if n, err := h.s.SpliceFrom(r, 100); n != 0 || err != unix.EOPNOTSUPP {
		t.Errorf("SpliceFrom = %d, %v", n, err)
	}
	if got := string(drain(t, r)); got != "text" {
		t.Errorf("the pipe has %q", got)
	}
	h.s.Close()
}

// TestSplicePeerDies closes the far end in the middle of a frame. The descriptors of the stream's
// pipe are closed, and another stream of the same memory starts afresh.
func TestSplicePeerDies(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	ours, far := pair(t)
	h := &hand{}
	h.s.Open(l, ours, "far end", h)
	r, w := pipe(t)
	defer closeFD(t, r)
	defer closeFD(t, w)
	if err := unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(w), unix.F_SETPIPE_SZ, spliceMost); err != nil {
		t.Fatal(err)
	}
	write(t, w, strings.Repeat("x", 200_000))
	h.frame(t, r, 1<<20)
	if n := h.s.spliced; n == 0 || n == 200_000 {
		t.Fatalf("%d bytes of the frame left", n)
	}
	closeFD(t, far)
	until(t, l, "the end", func() bool { return len(h.ends) > 0 })
	if err := h.ends[0]; !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("ended by %v", err)
	}
	ours, far = pair(t)
	defer unix.Close(far)
	h.s.Open(l, ours, "far end", h)
	write(t, w, "afresh")
	h.frame(t, r, 100)
	if got := string(drain(t, far)); got != "[afresh" {
		t.Errorf("got %q", got)
	}
	h.s.Close()
	allFree(t, l)
}

// TestSpliceWithoutDescriptors splices when the process has no descriptor left, and when it has
// one again.
func TestSpliceWithoutDescriptors(t *testing.T) {
	play(t, role(t, "splice without descriptors"))
}

func init() {
	roles["splice without descriptors"] = func() error {
		l, err := New(2)
		if err != nil {
			return err
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			return err
		}
		unix.Write(p[1], []byte("text"))
		h := &hand{}
		h.s.Open(l, fds[0], "far end", h)
		var old unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &old)
		for next := range 2 { // none, and one of the two that a pipe needs
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(p[1] + 1 + next), Max: old.Max}); err != nil {
				return err
			}
			if n, err := h.s.SpliceFrom(p[0], 100); n != 0 || err != unix.EMFILE {
				return errors.New("not refused")
			}
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		if n, err := h.s.SpliceFrom(p[0], 100); n != 4 || err != nil {
			return errors.New("not spliced")
		}
		return nil
	}
}

// fileText is a source whose text between head and tail lies in a file.
type fileText struct {
	text
	fd, from, size int
	headed         bool
	tail           string
}

func (x *fileText) File() (int, int64, int64) {
	if !x.headed {
		return -1, 0, 0
	}
	return x.fd, int64(x.from), int64(x.size)
}

func (x *fileText) Took(n int) { x.from, x.size = x.from+n, x.size-n }

func (x *fileText) Fill(b []byte) (int, bool) {
	switch {
	case !x.headed:
		x.headed = true
		return copy(b, "head "), false
	case x.size > 0: // the file cannot be read
		n := min(x.size, len(b))
		clear(b[:n])
		x.Took(n)
		return n, false
	}
	return copy(b, x.tail), true
}

// TestSendFile sends sources with a file to a far end that reads little at a time. One is whole,
// and one ends with the file. One is shorter than it should be, and one cannot be read at all.
func TestSendFile(t *testing.T) {
	t.Parallel()
	const size = 700_000
	content := strings.Repeat("0123456789", size/10)
	for _, x := range []struct {
		name string
		open func(t *testing.T) int
		tail string
		want string
	}{
		{"whole", whole, " tail", content},
		{"no tail", whole, "", content},
		{"short", func(t *testing.T) int {
			fd := whole(t)
			if err := unix.Ftruncate(fd, 300_000); err != nil {
				t.Fatal(err)
			}
			return fd
		}, " tail", content[:300_000] + string(make([]byte, size-300_000))},
		{"unreadable", func(t *testing.T) int {
			fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}, " tail", string(make([]byte, size))},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l := newLoop(t, 2)
			h, far := open(t, l)
			fd := x.open(t)
			defer closeFD(t, fd)
			if err := unix.SetsockoptInt(h.s.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
				t.Fatal(err)
			}
			src := &fileText{fd: fd, size: size, tail: x.tail}
			behind := &text{body: []byte(" behind"), step: 100}
			h.say("before ")
			h.s.Send(src)
			h.s.Send(behind)
			var got []byte
			until(t, l, "the text", func() bool { got = append(got, drain(t, far)...); return behind.sent == 1 && h.s.Idle() })
			got = append(got, drain(t, far)...)
			if want := "before head " + x.want + x.tail + " behind"; string(got) != want || src.sent != 1 || src.lost != 0 {
				t.Errorf("%d bytes, want %d; sent %d, lost %d", len(got), len(want), src.sent, src.lost)
			}
			allFree(t, l)
		})
	}
}

// whole is a file of 700,000 bytes.
func whole(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("whole", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		write(t, fd, strings.Repeat("0123456789", 7000))
	}
	return fd
}

// TestSendFilePeerDies closes the far end while a file is sent.
func TestSendFilePeerDies(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	ours, far := pair(t)
	h := &hand{}
	h.s.Open(l, ours, "far end", h)
	fd := whole(t)
	defer closeFD(t, fd)
	src := &fileText{fd: fd, size: 700_000}
	h.s.Send(src)
	if src.size == 0 {
		t.Fatal("the socket took it all")
	}
	closeFD(t, far)
	until(t, l, "the end", func() bool { return len(h.ends) > 0 })
	if src.sent != 0 || src.lost != 1 {
		t.Errorf("sent %d, lost %d", src.sent, src.lost)
	}
	allFree(t, l)
}
