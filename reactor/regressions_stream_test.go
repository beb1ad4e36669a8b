package reactor

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests are for bugs of streams, as those in regressions_test.go are.

// TestNothingOvertakesASource is for a bug in which output was sent before a source that was queued
// first. It ended up in the middle of a message.
func TestNothingOvertakesASource(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	h, far := open(t, l)
	filler := fill(t, h.s.FD())
	h.say("head ")
	h.s.Send(&text{body: []byte("body "), step: 5})
	if !h.s.Busy() {
		t.Error("Busy() = false while a source waits")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Space did not panic in front of a source")
			}
		}()
		h.s.Space(1)
	}()
	h.drained = func() {
		if h.drains == 1 {
			h.say("tail")
		}
	}
	var got []byte
	until(t, l, "the tail", func() bool {
		got = append(got, drain(t, far)...)
		return strings.HasSuffix(string(got), "tail")
	})
	if got := string(got[filler:]); got != "head body tail" {
		t.Errorf("sent %q, want %q", got, "head body tail")
	}
}

// TestInputKeepsItsBuffer is for a bug in which the buffer of the kept input was returned to the
// pool while Input used it. Input had closed the stream, or a flush within Input had failed. The
// buffer also lost its memory if the pool had enough warm ones.
func TestInputKeepsItsBuffer(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		l := newLoop(t, 2)
		h, far := open(t, l)
		write(t, far, "one ")
		h.input = func(b []byte) int {
			if string(b) == "one " {
				return 0 // keep it
			}
			h.s.Close()
			for range 2 {
				if other := l.buffers.Get(); other != nil {
					copy(other, "##########")
					defer l.buffers.Put(other)
				}
			}
			if string(b) != "one two" {
				t.Errorf("the input changed to %q, want %q", b, "one two")
			}
			if panics {
				panic("in input")
			}
			return len(b)
		}
		until(t, l, "the first", func() bool { return h.s.kept > 0 })
		write(t, far, "two")
		until(t, l, "the end", func() bool { return !h.s.Descriptor.Open() })
		allFree(t, l)
	}
}

// TestFillCloses is for a bug in which a source closed its stream, and the loop sent from a buffer
// that was no longer its own. The source may write to the buffer until it returns, so no other
// stream may have it.
func TestFillCloses(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, _ := open(t, l)
	src := &text{body: []byte("body"), step: 4}
	src.fill = func() {
		out := h.s.out
		h.s.Close()
		b := l.buffers.Get()
		if &b[0] == &out[0] {
			t.Error("the pool gave away the buffer that Fill writes to")
		}
		l.buffers.Put(b)
	}
	h.s.Send(src)
	if h.s.Descriptor.Open() || src.sent != 0 || src.lost != 1 {
		t.Errorf("stream open %v, source sent %d, lost %d; want false, 0, 1",
			h.s.Descriptor.Open(), src.sent, src.lost)
	}
	allFree(t, l)
}

// TestSourceOfNothing is for a bug in which a source that neither fills bytes nor ends kept the
// loop busy for ever.
func TestSourceOfNothing(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, _ := open(t, l)
	src := &text{body: []byte("body"), step: 0}
	h.s.Send(src)
	if h.s.Descriptor.Open() || src.lost != 1 || len(h.values) != 1 {
		t.Errorf("stream open %v, source lost %d, panics %v; want false, 1 and one",
			h.s.Descriptor.Open(), src.lost, h.values)
	}
	allFree(t, l)
}

// TestSourcesInAChainAreBounded is for a bug in which a Sent that sends the next source recursed,
// and the turn never ended.
func TestSourcesInAChainAreBounded(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	const chain = 1000
	made := 0
	var next func()
	next = func() {
		if made++; made <= chain {
			src := &text{body: []byte("x"), step: 1}
			src.done = next
			h.s.Send(src)
		}
	}
	next()
	if made > 2*writeBatch {
		t.Errorf("%d sources in one flush, want %d at most", made, 2*writeBatch)
	}
	got := 0
	until(t, l, "the chain", func() bool { got += len(drain(t, far)); return h.s.Idle() })
	if got += len(drain(t, far)); got != chain {
		t.Errorf("got %d bytes, want %d", got, chain)
	}
}

// TestFillPanicsUnderAnother is for a bug in which a panic of a source hit the handler that called
// Send. The stream then went on from the middle of the message.
func TestFillPanicsUnderAnother(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, _ := open(t, l)
	src := &text{body: []byte("body"), step: 2, fill: func() { panic("in fill") }}
	after := false
	var tm Timer
	l.Start(&tm, 0, expiredFunc(func(*Timer) {
		h.s.Send(src)
		after = true
	}))
	poll(t, l)
	until(t, l, "the timer", func() bool { return after })
	if h.s.Descriptor.Open() || src.lost != 1 {
		t.Errorf("stream open %v, source lost %d; want false, 1", h.s.Descriptor.Open(), src.lost)
	}
	h.once(t, "in fill", "TestFillPanicsUnderAnother")
	allFree(t, l)
}

// TestStalledWithinInput is for a bug in which Input paused its stream, resumed it and returned
// early. The rest of the input was not passed again. The same happened with output that made the
// stream busy and was sent at once.
func TestStalledWithinInput(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]func(*Stream){
		"pause": func(s *Stream) { s.Pause(); s.Resume() },
		"yield": (*Stream).Yield,
		"output": func(s *Stream) {
			s.Commit(append(s.Space(highWater), make([]byte, highWater)...))
			s.Commit(append(s.Space(1), 0))
			s.Flush()
		},
		"source": func(s *Stream) { s.Send(&text{body: []byte("x"), step: 1}) },
	} {
		l := newLoop(t, 2)
		h, far := open(t, l)
		calls := 0
		h.input = func(b []byte) int {
			calls++
			if calls == 1 {
				stall(&h.s)
				if h.s.Busy() {
					t.Errorf("%s: the stream is still busy, because the socket took too little",
						name)
				}
				return 1
			}
			h.got = append(h.got, b...)
			return len(b)
		}
		write(t, far, "xyz")
		until(t, l, "the rest", func() bool { return calls == 2 })
		poll(t, l)
		if string(h.got) != "yz" || calls != 2 {
			t.Errorf("%s: got %q in %d calls, want %q in 2", name, h.got, calls, "yz")
		}
		allFree(t, l)
	}
}

// TestSendToAClosedStream is for a bug in which a source for a closed stream was never told, and
// kept what it held.
func TestSendToAClosedStream(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, _ := open(t, l)
	h.s.Close()
	src := &text{body: []byte("body")}
	h.s.Send(src)
	h.say("lost")
	h.s.Resume()
	h.s.Flush()
	if src.lost != 1 || h.s.tail != 0 {
		t.Errorf("source lost %d, %d bytes queued; want 1 and 0", src.lost, h.s.tail)
	}
	allFree(t, l)
}

// TestStreamOpenedAgain is for a bug in which a stream that was opened again still counted as
// ended, and never read.
func TestStreamOpenedAgain(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the end", func() bool { return len(h.ends) == 1 })
	h.s.Pause()
	h.s.Close()
	ours, theirs := pair(t)
	t.Cleanup(func() { unix.Close(theirs) })
	h.s.Open(l, ours, "again", h)
	for _, want := range []string{"again", "again and again"} {
		write(t, theirs, want[len(h.got):])
		until(t, l, "input", func() bool { return string(h.got) == want })
	}
}

// TestFullBufferIsNotTheEnd is for a bug in which a handler that takes nothing from a full buffer
// was told of an orderly end.
func TestFullBufferIsNotTheEnd(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, far := open(t, l)
	h.input = func([]byte) int { return 0 }
	until(t, l, "the end", func() bool {
		unix.Write(far, make([]byte, 1000))
		return len(h.ends) > 0
	})
	if !errors.Is(h.ends[0], unix.EMSGSIZE) || len(h.ends) != 1 {
		t.Errorf("End was called with %v, want EMSGSIZE once", h.ends)
	}
	allFree(t, l)
}

// TestCommitOfSomethingElse is for a bug in which an append beyond the requested space moved the
// bytes to another array. The stream then sent the old content of its buffer.
func TestCommitOfSomethingElse(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 2)
	h, _ := open(t, l)
	defer func() {
		if recover() == nil {
			t.Error("Commit of other bytes did not panic")
		}
	}()
	h.s.Commit(append(h.s.Space(10), make([]byte, BufferSize+1)...))
}
