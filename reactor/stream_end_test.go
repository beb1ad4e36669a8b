package reactor

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStreamReadsAllBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{true, false} {
		l := newLoop(t, 2)
		h, far := open(t, l)
		sent := bytes.Repeat([]byte("0123456789"), 15000) // more than two turns read
		if n, err := unix.Write(far, sent); n < 2*BufferSize {
			t.Fatalf("the socket took only %d bytes: %v", n, err)
		} else {
			sent = sent[:n]
		}
		if half {
			if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
		} else if err := unix.Shutdown(far, unix.SHUT_RDWR); err != nil { // hangs up as a close does
			t.Fatal(err)
		}
		atEnd := -1
		h.end = func(error) { atEnd = len(h.got); h.s.Close() }
		until(t, l, "the end", func() bool { return atEnd >= 0 })
		if !bytes.Equal(h.got, sent) || len(h.ends) != 1 || h.ends[0] != nil {
			t.Errorf("half %v: got %d bytes, want %d; ends %v, want one without an error",
				half, len(h.got), len(sent), h.ends)
		}
		allFree(t, l)
	}
}

// TestStreamHalfClosed shuts down the far end's writing side. Queued output is still sent. When the
// far end goes away it is noticed, once and without spinning.
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
		t.Errorf("got %d bytes, want %d", got, filler+9)
	}
	quiet(t, l)
	h.say("more")
	if got := string(drain(t, far)); got != "more" {
		t.Errorf("got %q, want more", got)
	}
	if err := unix.Shutdown(far, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the hang-up", func() bool { return len(h.ends) == 2 })
	if h.ends[0] != nil || !errors.Is(h.ends[1], unix.ECONNRESET) || h.s.Descriptor.Open() {
		t.Errorf("ends %v, want nil and ECONNRESET", h.ends)
	}
	quiet(t, l)
}

// TestStreamReset closes a far end that has unread bytes, which resets the connection. Its last
// bytes are read before the error.
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
		t.Errorf("got %q, ends %v, want %q and ECONNRESET", h.got, h.ends, "last words")
	}
	if got := h.ends[0].Error(); got != "read far end: connection reset by peer" {
		t.Errorf("the error is %q", got)
	}
	allFree(t, l)
}

// TestStreamGoneUnderOutput closes the far end while output is queued, from one source that is
// being sent and one that waits.
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
			t.Errorf("ends %v, Drained was called %d times; want one error and 0", h.ends, h.drains)
		}
		if under.sent+waits.sent != 0 || under.lost != 1 || waits.lost != 1 {
			t.Errorf("first source: sent %d, lost %d; second: sent %d, lost %d; want 0, 1, 0, 1",
				under.sent, under.lost, waits.sent, waits.lost)
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
		t.Errorf("ends %v, got %q, want ECONNRESET and no input", h.ends, h.got)
	}
}

// TestStreamPausedAndHalfClosed shuts down the far end's writing side while the stream is not read.
// The far end is not gone, so the stream probes it now and then. Its bytes are read later, up to
// the end.
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
		until(t, l, "a probe", h.s.probeTimer.Running)
		quiet(t, l)
		h.s.probe() // as the timer would
		if len(h.ends) > 0 || !h.s.probeTimer.Running() {
			t.Fatalf("ends %v, want no end and another probe", h.ends)
		}
		got := 0
		h.s.Resume()
		until(t, l, "the end", func() bool { got += len(drain(t, far)); return len(h.ends) == 1 && h.s.Idle() })
		if got += len(drain(t, far)); h.ends[0] != nil || string(h.got) != "unread" || busy && got != filler+9 {
			t.Errorf("ends %v, got %q, sent %d bytes; want nil, %q and all",
				h.ends, h.got, got, "unread")
		}
		if !h.s.probeTimer.Running() {
			t.Error("no probe after the end was read")
		}
		quiet(t, l)
	}
}

// TestStreamProbe holds that a probe finds a far end that is gone without a hang-up. It shuts down
// this side's writing, so that a send fails as on a vsock connection that is over. vsock_test.go
// has the real one.
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
		t.Fatalf("ends %v, want no end yet", h.ends)
	}
	h.s.probe()
	if len(h.ends) != 1 || !errors.Is(h.ends[0], unix.EPIPE) || h.s.Descriptor.Open() || h.s.probeTimer.Running() {
		t.Errorf("ends %v, want EPIPE", h.ends)
	}
	allFree(t, l)
}

// TestStreamProbeAtTheEnd holds that the stream probes at once when it reads the end. Later the
// kernel would report a hang-up here, but not for vsock.
func TestStreamProbeAtTheEnd(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	for _, fd := range []int{h.s.FD(), far} {
		if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, l)
	if len(h.ends) != 2 || h.ends[0] != nil || !errors.Is(h.ends[1], unix.EPIPE) || h.s.Descriptor.Open() {
		t.Errorf("ends %v, want nil and EPIPE", h.ends)
	}
	allFree(t, l)
}
