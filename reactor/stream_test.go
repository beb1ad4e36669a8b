package reactor

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStreamOneByteAtATime sends one byte at a time. The bytes that Input does not take are passed
// again with more behind them.
func TestStreamOneByteAtATime(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	const message = "a message of some length"
	h.input = func(b []byte) int {
		if want := message[:len(b)]; string(b) != want {
			t.Errorf("Input(%q), want %q", b, want)
		}
		if len(b) < len(message) {
			return 0
		}
		h.got = append(h.got, b...)
		return len(b)
	}
	for i := range message {
		write(t, far, message[i:i+1])
		until(t, l, "the byte", func() bool { return h.s.kept == (i+1)%len(message) })
	}
	if string(h.got) != message {
		t.Errorf("got %q, want %q", h.got, message)
	}
	allFree(t, l)
}

func TestStreamShortWrites(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	if err := unix.SetsockoptInt(h.s.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 300<<10)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	src := &text{body: body, step: 10000}
	h.say("head")
	h.s.Send(src)
	var got []byte
	turns := until(t, l, "the body", func() bool { got = append(got, drain(t, far)...); return h.drains > 0 && h.s.Idle() })
	got = append(got, drain(t, far)...)
	if string(got[:4]) != "head" || !bytes.Equal(got[4:], body) || src.sent != 1 || src.lost != 0 {
		t.Errorf("got %d bytes, want %d; source sent %d, lost %d",
			len(got), 4+len(body), src.sent, src.lost)
	}
	if turns < 10 {
		t.Errorf("%d turns, want 10 or more, because the socket is small", turns)
	}
	allFree(t, l)
}

// TestStreamFarEndThatDoesNotRead has a far end that sends requests and reads no reply. The stream
// stops reading, and uses two buffers.
func TestStreamFarEndThatDoesNotRead(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	h.input = func(b []byte) int {
		n := 0
		for ; n < len(b) && !h.s.Busy(); n++ {
			h.s.Commit(append(h.s.Space(1000), make([]byte, 1000)...))
		}
		return n
	}
	asked, still := 0, 0
	for still < 3 {
		n, err := unix.Write(far, make([]byte, 4096))
		if err == unix.EAGAIN {
			still++
		} else {
			still = 0
			asked += n
		}
		poll(t, l)
	}
	quiet(t, l)
	if asked > 2<<20 {
		t.Errorf("read %d bytes of a far end that does not read, want 2 MiB at most", asked)
	}
	got := 0
	until(t, l, "the answers", func() bool { got += len(drain(t, far)); return got >= asked*1000 })
	if got != asked*1000 {
		t.Errorf("got %d bytes of answers to %d requests, want %d", got, asked, asked*1000)
	}
	until(t, l, "the last", h.s.Idle)
	allFree(t, l)
}

// TestStreamFairness has two streams with more input than they can read. One turn reads each once,
// no more than a buffer, and a timer expires.
func TestStreamFairness(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	var hs [2]*hand
	var fars [2]int
	var calls [2]int
	for i := range hs {
		hs[i], fars[i] = open(t, l)
		hs[i].input = func(b []byte) int {
			if len(b) > BufferSize {
				t.Errorf("read %d bytes in a turn, want %d at most", len(b), BufferSize)
			}
			calls[i]++
			return len(b)
		}
	}
	ticks := 0
	var tm Timer
	var tick expiredFunc
	tick = func(*Timer) { ticks++; l.Start(&tm, 0, tick) }
	l.Start(&tm, 0, tick)
	for turn := 1; turn <= 50; turn++ {
		for _, far := range fars {
			fill(t, far)
		}
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
		if calls[0] != turn || calls[1] != turn || ticks != turn {
			t.Fatalf("after %d turns: inputs %v, ticks %d; want one of each per turn",
				turn, calls, ticks)
		}
	}
}

// TestStreamWithoutBuffers holds that a pool that is too small costs only the stream that needs a
// buffer.
func TestStreamWithoutBuffers(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 1)
	a, farA := open(t, l)
	b, farB := open(t, l)
	keep := func([]byte) int { return 0 }
	a.input, b.input = keep, keep
	write(t, farA, "x")
	until(t, l, "the first", func() bool { return a.s.kept == 1 })
	write(t, farB, "x")
	until(t, l, "the second", func() bool { return len(b.ends) == 1 })
	if !errors.Is(b.ends[0], unix.ENOBUFS) || !a.s.Descriptor.Open() {
		t.Errorf("ends %v, first stream open %v; want ENOBUFS and true",
			b.ends, a.s.Descriptor.Open())
	}
}

// TestStreamClosedInEachCallback closes a stream in each of its callbacks.
func TestStreamClosedInEachCallback(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"input", "end", "drained", "fill", "sent", "flush in input"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			l := newLoop(t, 2)
			ours, far := pair(t)
			h := &hand{}
			h.s.Open(l, ours, "far end", h)
			src := &text{body: make([]byte, 10), step: 5}
			defer func() {
				if where != "flush in input" {
					closeFD(t, far)
				}
			}()
			shut := func() { h.s.Close() }
			switch where {
			case "input":
				h.input = func(b []byte) int { shut(); return 0 }
				write(t, far, "x")
			case "end":
				h.end = func(error) { shut() }
				if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
					t.Fatal(err)
				}
			case "drained":
				h.drained = shut
				h.say("x")
			case "fill":
				src.fill = shut
				h.s.Send(src)
			case "sent":
				src.done = shut
				h.s.Send(src)
			case "flush in input":
				h.input = func(b []byte) int {
					h.say("to nobody")
					if h.s.Descriptor.Open() || len(h.ends) != 1 {
						t.Errorf("stream open %v, ends %v; want false and one end",
							h.s.Descriptor.Open(), h.ends)
					}
					h.say("to nobody at all")
					return len(b)
				}
				write(t, far, "x")
				closeFD(t, far)
			}
			until(t, l, "the close", func() bool { return !h.s.Descriptor.Open() })
			poll(t, l)
			if src.sent+src.lost > 1 || len(h.ends) > 1 || len(h.values) != 0 {
				t.Errorf("sent %d, lost %d, ends %v, panics %v",
					src.sent, src.lost, h.ends, h.values)
			}
			allFree(t, l)
			quiet(t, l)
		})
	}
}

// TestStreamEchoAllocatesNothing holds that an echo makes no garbage.
func TestStreamEchoAllocatesNothing(t *testing.T) {
	l := newLoop(t, 2)
	far := echo(t, l)
	message := make([]byte, 512)
	b := make([]byte, 1024)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := send(far, message); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(message); {
			if err := l.turn(); err != nil {
				t.Fatal(err)
			}
			m, _ := recv(far, b)
			n += m
		}
	}); got != 0 {
		t.Errorf("%v allocations in a round trip, want 0", got)
	}
}

// echo opens a stream that sends back its input.
func echo(t testing.TB, l *Loop) (far int) {
	h, far := open(t, l)
	h.input = func(b []byte) int {
		n := 0
		for n < len(b) && !h.s.Busy() {
			part := b[n:min(n+1024, len(b))]
			h.s.Commit(append(h.s.Space(len(part)), part...))
			n += len(part)
		}
		return n
	}
	return far
}

// TestStreamReadAtMost holds that a limited read ends at its limit, and that the rest comes with
// the next.
func TestStreamReadAtMost(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	ours, theirs := pair(t)
	defer closeFD(t, theirs)
	var sizes []int
	h := &hand{}
	h.input = func(b []byte) int {
		sizes = append(sizes, len(b))
		h.s.ReadAtMost(max(0, 7-3*len(sizes))) // 4, 1, then no limit
		return len(b)
	}
	h.s.Open(l, ours, "far end", h)
	h.s.ReadAtMost(7)
	write(t, theirs, strings.Repeat("x", 100))
	until(t, l, "all of it", func() bool {
		n := 0
		for _, size := range sizes {
			n += size
		}
		return n == 100
	})
	if !slices.Equal(sizes, []int{7, 4, 1, 88}) {
		t.Errorf("reads of %v, want 7, 4, 1 and 88", sizes)
	}
	h.s.Close()
}
