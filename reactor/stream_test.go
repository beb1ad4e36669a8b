package reactor

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStreamReadsAllBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{true, false} {
		l := newLoop(t, 2)
		h, far := open(t, l)
		sent := bytes.Repeat([]byte("0123456789"), 15000) // more than two turns' worth
		if n, err := unix.Write(far, sent); n < 2*BufferSize {
			t.Fatalf("the socket took only %d bytes, %v", n, err)
		} else {
			sent = sent[:n]
		}
		if half {
			if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
		} else if err := unix.Shutdown(far, unix.SHUT_RDWR); err != nil { // hangs up as closing does
			t.Fatal(err)
		}
		atEnd := -1
		h.end = func(error) { atEnd = len(h.got); h.s.Close() }
		until(t, l, "the end", func() bool { return atEnd >= 0 })
		if !bytes.Equal(h.got, sent) || len(h.ends) != 1 || h.ends[0] != nil {
			t.Errorf("half %v: %d of %d bytes, ends %v", half, len(h.got), len(sent), h.ends)
		}
		allFree(t, l)
	}
}

// After a half-close what is still due is sent, and then a far end that goes away for good is noticed, once, and without spinning.
func TestStreamHalfClosed(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	filler := fill(t, h.s.FD())
	h.say("still due")
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the end", func() bool { return len(h.ends) == 1 })
	quiet(t, l)
	got := 0
	until(t, l, "the output", func() bool { got += len(drain(t, far)); return h.drains == 1 })
	if got += len(drain(t, far)); got != filler+9 {
		t.Errorf("%d bytes", got)
	}
	quiet(t, l)
	h.say("more")
	if got := string(drain(t, far)); got != "more" {
		t.Errorf("got %q", got)
	}
	if err := unix.Shutdown(far, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the hang-up", func() bool { return len(h.ends) == 2 })
	if h.ends[0] != nil || !errors.Is(h.ends[1], unix.ECONNRESET) || h.s.Descriptor.Open() {
		t.Errorf("ends %v", h.ends)
	}
	quiet(t, l)
}

// A far end that closes without having read what it was sent resets the connection: its last words first, then the error.
func TestStreamReset(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	ours, far := pair(t)
	h := &hand{}
	h.s.Open(l, ours, "far end", h)
	h.say("never read")
	write(t, far, "last words")
	closeFD(t, far)
	until(t, l, "the end", func() bool { return len(h.ends) == 1 })
	if string(h.got) != "last words" || !errors.Is(h.ends[0], unix.ECONNRESET) || h.s.Descriptor.Open() {
		t.Errorf("got %q, ends %v", h.got, h.ends)
	}
	if got := h.ends[0].Error(); got != "read far end: connection reset by peer" {
		t.Errorf("error %q", got)
	}
	allFree(t, l)
}

// The far end is gone while output is queued, some of it from sources under way and waiting.
func TestStreamGoneUnderOutput(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		l := newLoop(t, 2)
		ours, far := pair(t)
		h := &hand{}
		h.s.Open(l, ours, "far end", h)
		under := &text{body: make([]byte, 1<<20), step: BufferSize}
		waits := &text{body: []byte("x"), step: 1}
		h.s.Send(under)
		h.s.Send(waits)
		if paused {
			h.s.Pause()
		}
		poll(t, l)
		closeFD(t, far)
		until(t, l, "the end", func() bool { return len(h.ends) == 1 })
		if h.ends[0] == nil || h.s.Descriptor.Open() || h.drains != 0 {
			t.Errorf("ends %v, drained %d times", h.ends, h.drains)
		}
		if under.sent+waits.sent != 0 || under.lost != 1 || waits.lost != 1 {
			t.Errorf("under way: sent %d lost %d; waiting: sent %d lost %d", under.sent, under.lost, waits.sent, waits.lost)
		}
		allFree(t, l)
		quiet(t, l)
	}
}

func TestStreamPausedLearnsOfTheEnd(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	ours, far := pair(t)
	h := &hand{}
	h.s.Open(l, ours, "far end", h)
	h.s.Pause()
	write(t, far, "unread")
	poll(t, l)
	quiet(t, l)
	closeFD(t, far)
	until(t, l, "the end", func() bool { return len(h.ends) == 1 })
	if !errors.Is(h.ends[0], unix.ECONNRESET) || len(h.got) != 0 {
		t.Errorf("ends %v, got %q", h.ends, h.got)
	}
}

// A far end that writes no more while it is not read from is not gone: it is looked for now and then, and what it wrote is read later, up to its end.
func TestStreamPausedAndHalfClosed(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		l := newLoop(t, 2)
		h, far := open(t, l)
		h.s.Pause()
		write(t, far, "unread")
		filler := 0
		if busy {
			filler = fill(t, h.s.FD())
			h.say("still due")
		}
		if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		until(t, l, "a probe", h.s.probing.Running)
		quiet(t, l)
		h.s.probe() // as the timer does
		if len(h.ends) > 0 || !h.s.probing.Running() {
			t.Fatalf("ends %v", h.ends)
		}
		got := 0
		h.s.Resume()
		until(t, l, "the end", func() bool { got += len(drain(t, far)); return len(h.ends) == 1 && h.s.Idle() })
		if got += len(drain(t, far)); h.ends[0] != nil || string(h.got) != "unread" || busy && got != filler+9 {
			t.Errorf("ends %v, got %q, gave %d bytes", h.ends, h.got, got)
		}
		if h.s.probing.Running() {
			t.Error("looked for after its end was read")
		}
		quiet(t, l)
	}
}

// What is gone without a hang-up is found by a probe. Here our own writing side is shut, which is what the kernel says of a vsock connection that is over.
func TestStreamProbe(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	h.s.Pause()
	write(t, far, "unread")
	if err := unix.Shutdown(h.s.FD(), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	poll(t, l)
	if len(h.ends) > 0 {
		t.Fatalf("ends %v", h.ends)
	}
	h.s.probe()
	if len(h.ends) != 1 || !errors.Is(h.ends[0], unix.EPIPE) || h.s.Descriptor.Open() || h.s.probing.Running() {
		t.Errorf("ends %v", h.ends)
	}
	allFree(t, l)
}

// One byte at a time is input like any other, and what is not taken is given again with more behind it.
func TestStreamOneByteAtATime(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	const message = "a message of some length"
	h.input = func(b []byte) int {
		if want := message[:len(b)]; string(b) != want {
			t.Errorf("given %q, want %q", b, want)
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
		t.Errorf("got %q", h.got)
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
		t.Errorf("%d bytes, sent %d, lost %d", len(got), src.sent, src.lost)
	}
	if turns < 10 {
		t.Errorf("in %d turns: the writes were not short", turns)
	}
	allFree(t, l)
}

// A far end that asks and asks and reads no answer is not read from any more, and costs two buffers.
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
		t.Errorf("%d bytes were taken of a far end that does not read", asked)
	}
	got := 0
	until(t, l, "the answers", func() bool { got += len(drain(t, far)); return got >= asked*1000 })
	if got != asked*1000 {
		t.Errorf("%d bytes of answers to %d", got, asked)
	}
	until(t, l, "the last", h.s.Idle)
	allFree(t, l)
}

// In one turn each of two streams that have more than enough is read once, no more than a buffer, and a timer expires.
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
				t.Errorf("%d bytes in a turn", len(b))
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
			t.Fatalf("after %d turns: inputs %v, ticks %d", turn, calls, ticks)
		}
	}
}

// A pool that is too small costs the stream and nothing else.
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
		t.Errorf("ends %v, the first open %v", b.ends, a.s.Descriptor.Open())
	}
}

// A stream may be closed in each of its callbacks.
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
						t.Errorf("open %v, ends %v", h.s.Descriptor.Open(), h.ends)
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
				t.Errorf("sent %d, lost %d, ends %v, failed %v", src.sent, src.lost, h.ends, h.values)
			}
			allFree(t, l)
			quiet(t, l)
		})
	}
}

// An echo costs no garbage.
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
		t.Errorf("%v allocations in a round trip", got)
	}
}

// echo is a stream that says what it hears.
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

// A read that is bounded ends there, and what is behind comes with the next.
func TestStreamReadAtMost(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	ours, theirs := pair(t)
	defer closeFD(t, theirs)
	var sizes []int
	h := &hand{}
	h.input = func(b []byte) int {
		sizes = append(sizes, len(b))
		h.s.ReadAtMost(max(0, 7-3*len(sizes))) // 4, 1, then no bound
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
		t.Errorf("reads of %v", sizes)
	}
	h.s.Close()
}
