package reactor

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPipeHangupWithData reads everything that the writer of a pipe left, before the end of file.
func TestPipeHangupWithData(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	sent := make([]byte, 40000)
	for i := range sent {
		sent[i] = byte(i % 251)
	}
	write(t, w, string(sent))
	closeFD(t, w)
	var d Descriptor
	var got []byte
	b := make([]byte, 1000)
	ended := false
	l.Attach(&d, r, readyFunc(func(ev Events) {
		if ev&Readable == 0 {
			t.Errorf("Ready(%v), want Readable", ev)
		}
		n, err := recv(d.FD(), b)
		if err != nil {
			t.Error(err)
		}
		got = append(got, b[:n]...)
		if n == 0 {
			ended = true
			d.Close()
		}
	}))
	d.Want(Read)
	until(t, l, "the end", func() bool { return ended })
	if !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes, want the %d that were written", len(got), len(sent))
	}
}

// TestFullPipeWithoutAReader closes the reader of a full pipe. The kernel reports an error and no
// room, and the loop reports Writable, because a write returns the error.
func TestFullPipeWithoutAReader(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	fill(t, w)
	var d Descriptor
	var told Events
	l.Attach(&d, w, readyFunc(func(ev Events) { told |= ev }))
	d.Want(Write)
	poll(t, l)
	if told != 0 {
		t.Errorf("Ready(%v) for a full pipe, want no event", told)
	}
	closeFD(t, r)
	poll(t, l)
	if told != Writable|HungUp {
		t.Errorf("Ready(%v) without a reader, want Writable and HungUp", told)
	}
}

// TestBackpressuredPipeDoesNotSpin closes the writer of a pipe that is not being read. If the pipe
// stayed in the epoll set, every wait would report it (redpanda-data/seastar#64).
func TestBackpressuredPipeDoesNotSpin(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	write(t, w, "data")
	var d Descriptor
	calls := 0
	var got []byte
	l.Attach(&d, r, readyFunc(func(Events) {
		if calls++; calls == 1 {
			d.Want(0)
			return
		}
		if got = drain(t, d.FD()); len(got) > 0 {
			d.Close()
		}
	}))
	d.Want(Read)
	until(t, l, "the first event", func() bool { return calls == 1 })
	closeFD(t, w)
	quiet(t, l)
	var tm Timer
	due := false
	l.Start(&tm, 20e6, expiredFunc(func(*Timer) { due = true }))
	if turns := until(t, l, "the timer", func() bool { return due }); turns > fewTurns {
		t.Errorf("%d turns before the timer, want %d at most", turns, fewTurns)
	}
	d.Want(Read)
	until(t, l, "the data", func() bool { return !d.Open() })
	if string(got) != "data" || calls != 2 {
		t.Errorf("read %q in %d calls, want %q in 2", got, calls, "data")
	}
}

func TestInterests(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	ours, far := pair(t)
	var d Descriptor
	var told Events
	l.Attach(&d, ours, readyFunc(func(ev Events) { told |= ev }))
	step := func(what string, want Interest, expect Events) {
		t.Helper()
		told = 0
		d.Want(want)
		poll(t, l)
		if told != expect {
			t.Errorf("%s: Want(%v) led to Ready(%v), want %v", what, want, told, expect)
		}
	}
	step("idle", Read, 0)
	step("room", Write, Writable)
	step("room", Read|Write, Writable)
	write(t, far, "x")
	step("data", 0, 0)
	step("data", Hangup, 0)
	step("data", Read, Readable)
	step("data", Read|Write, Readable|Writable)
	step("data", Shutdown|Hangup, 0)
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	step("shut down", Shutdown|Write, ShutDown|Writable)
	step("shut down", Hangup, 0)
	closeFD(t, far)
	step("gone", 0, 0)
	quiet(t, l)
	step("gone", Hangup, HungUp)
	step("gone", Write, HungUp|Writable)
	step("gone", Read, HungUp|Readable)
}

// TestClosedWhileDuplicated closes a descriptor of which a duplicate lives on, as in a child. Its
// handler gets no more events.
func TestClosedWhileDuplicated(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	defer unix.Close(w)
	duplicate, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(duplicate)
	var d Descriptor
	l.Attach(&d, r, readyFunc(func(Events) { t.Error("Ready was called after Close") }))
	d.Want(Read)
	poll(t, l)
	d.Close()
	write(t, w, "x")
	quiet(t, l)
	poll(t, l)
	if isOpen(r) {
		t.Error("the descriptor is open after the turn")
	}
}

// TestSlotTableGrowsInABatch attaches descriptors in handlers, which moves the table of slots while
// the batch is dispatched.
func TestSlotTableGrowsInABatch(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	const first, more = 20, 50
	ds := make([]Descriptor, first*(more+1))
	told := make([]int, len(ds))
	for i := range first {
		l.Attach(&ds[i], eventfd(t, 1), readyFunc(func(Events) {
			told[i]++
			ds[i].Want(0)
			for j := first + i*more; j < first+(i+1)*more; j++ {
				l.Attach(&ds[j], eventfd(t, 1), readyFunc(func(Events) {
					told[j]++
					ds[j].Close()
				}))
				ds[j].Want(Read)
			}
		}))
		ds[i].Want(Read)
	}
	until(t, l, "all", func() bool {
		for i := range told {
			if told[i] == 0 {
				return false
			}
		}
		return true
	})
	for i := range told {
		if told[i] != 1 {
			t.Errorf("descriptor %d got %d events, want 1", i, told[i])
		}
	}
	poll(t, l)
	if free := len(l.free); free != first*more {
		t.Errorf("%d of %d slots are free, want %d", free, len(l.slots), first*more)
	}
}

// TestDescriptorUsedAgainInItsHandler closes and attaches one Descriptor again and again, in its
// own handler and while it is on the dirty list.
func TestDescriptorUsedAgainInItsHandler(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var d Descriptor
	calls := 0
	var again readyFunc
	again = func(Events) {
		calls++
		d.Want(Write)
		d.Close()
		d.Close()
		if d.FD() != -1 || d.Open() {
			t.Errorf("FD() = %d, Open() = %v after Close, want -1 and false", d.FD(), d.Open())
		}
		d.Want(Read)
		l.Attach(&d, eventfd(t, 1), again)
		d.Want(Read)
	}
	l.Attach(&d, eventfd(t, 1), again)
	d.Want(Read)
	until(t, l, "100 calls", func() bool { return calls >= 100 })
	if calls != 100 || len(l.slots) > 3 {
		t.Errorf("%d calls and %d slots, want 100 and 3 at most", calls, len(l.slots))
	}
}
