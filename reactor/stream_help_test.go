package reactor

import (
	"testing"

	"golang.org/x/sys/unix"
)

// hand is a StreamHandler that takes all input, unless input is set, and records its calls.
type hand struct {
	failer
	s       Stream
	input   func(b []byte) int
	end     func(error)
	drained func()
	got     []byte
	ends    []error
	drains  int
}

func (h *hand) Input(b []byte) int {
	if h.input != nil {
		return h.input(b)
	}
	h.got = append(h.got, b...)
	return len(b)
}

func (h *hand) End(err error) {
	h.ends = append(h.ends, err)
	if h.end != nil {
		h.end(err)
	}
}

func (h *hand) Drained() {
	h.drains++
	if h.drained != nil {
		h.drained()
	}
}

// say queues a text and flushes.
func (h *hand) say(s string) {
	h.s.Commit(append(h.s.Space(len(s)), s...))
	h.s.Flush()
}

// open puts one end of a socket pair on the loop as a stream. The other end is closed at the end of
// the test.
func open(t testing.TB, l *Loop) (h *hand, far int) {
	t.Helper()
	ours, far := pair(t)
	t.Cleanup(func() { unix.Close(far) })
	h = &hand{}
	h.s.Open(l, ours, "far end", h)
	return h, far
}

// fill writes to a socket until it takes no more, and returns the number of bytes.
func fill(t testing.TB, fd int) (total int) {
	t.Helper()
	for size := BufferSize; size > 0; {
		n, err := unix.Write(fd, make([]byte, size))
		switch err {
		case nil:
			total += n
		case unix.EAGAIN:
			size /= 2
		default:
			t.Fatal(err)
		}
	}
	return total
}

// text is a source that fills step bytes of its body at a time.
type text struct {
	body       []byte
	step       int
	fill       func()
	done       func()
	sent, lost int
}

func (x *text) Fill(b []byte) (int, bool) {
	if x.fill != nil {
		x.fill()
	}
	n := copy(b, x.body[:min(x.step, len(x.body))])
	x.body = x.body[n:]
	return n, len(x.body) == 0
}

func (x *text) Sent(whole bool) {
	if whole {
		x.sent++
	} else {
		x.lost++
	}
	if x.done != nil {
		x.done()
	}
}
