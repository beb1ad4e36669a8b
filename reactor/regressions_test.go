package reactor

import (
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each of these tests is for a bug that this package, or another event loop, has had.

// TestStaleEventInBatch has two descriptors ready in one batch. The first handler closes the second
// descriptor, and opens another with its number and slot. Loops that look up the number passed the
// old event to the new owner (rust-vmm/event-manager#41, creytiv/re#266).
func TestStaleEventInBatch(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		l := newLoop(t, 0)
		fds := [2]int{eventfd(t, 1), eventfd(t, 1)}
		var ds [2]Descriptor
		var next Descriptor
		called := 0
		nextCalled := false
		for i := range ds {
			other := &ds[1-i]
			l.Attach(&ds[i], fds[i], readyFunc(func(Events) {
				called++
				number, slot := other.FD(), other.slot
				other.Close()
				if now {
					l.release() // without the delay, only the generation tells them apart
				}
				fd := eventfd(t, 0)
				l.Attach(&next, fd, readyFunc(func(Events) { nextCalled = true }))
				next.Want(Read)
				if same := fd == number && next.slot == slot; same != now {
					t.Errorf("released in the batch %v: same number and slot %v, want %v",
						now, same, now)
				}
			}))
			ds[i].Want(Read)
		}
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
		if called != 1 || nextCalled {
			t.Errorf("released in the batch %v: the two ready descriptors got %d calls, want 1; the new one was called %v, want false",
				now, called, nextCalled)
		}
		if !now && (isOpen(fds[0]) == isOpen(fds[1])) {
			t.Errorf("released in the batch %v: want one of the two descriptors closed after the turn",
				now)
		}
	}
}

// TestClosedOutsideATurnIsClosedBeforeTheWait is for a bug in which a descriptor closed before Run
// stayed open until the next event.
func TestClosedOutsideATurnIsClosedBeforeTheWait(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	ours, theirs := pair(t)
	var d, far Descriptor
	l.Attach(&d, ours, readyFunc(func(Events) {}))
	d.Close()
	over := false
	l.Attach(&far, theirs, readyFunc(func(Events) { over = true }))
	far.Want(Read)
	until(t, l, "the end of file", func() bool { return over })
}

// TestReleasedAndAttachedElsewhere is for a bug in which a descriptor on the dirty list of one loop
// could not get on that of another.
func TestReleasedAndAttachedElsewhere(t *testing.T) {
	t.Parallel()
	from, to := newLoop(t, 0), newLoop(t, 0)
	var d Descriptor
	told := 0
	h := readyFunc(func(Events) { told++; d.Want(0) })
	from.Attach(&d, eventfd(t, 1), h)
	d.Want(Read)
	to.Attach(&d, d.Release(), h)
	d.Want(Read)
	until(t, to, "the event", func() bool { return told > 0 })
	poll(t, from)
	if told != 1 {
		t.Errorf("got %d events, want 1", told)
	}
	if fd := (&Descriptor{}).Release(); fd != -1 {
		t.Errorf("Release() of a closed descriptor = %d, want -1", fd)
	}
}

// TestInterestGivenUpInTheBatch is for a bug in which a handler got an event although another
// handler of the same batch had dropped its interest. The event may be a hang-up.
func TestInterestGivenUpInTheBatch(t *testing.T) {
	t.Parallel()
	for _, hungUp := range []bool{false, true} {
		l := newLoop(t, 0)
		var ds [2]Descriptor
		called := 0
		for i := range ds {
			fd := eventfd(t, 1)
			if hungUp {
				closeFD(t, fd)
				var w int
				fd, w = pipe(t)
				closeFD(t, w)
			}
			l.Attach(&ds[i], fd, readyFunc(func(Events) {
				called++
				ds[0].Want(0)
				ds[1].Want(0)
			}))
			ds[i].Want(Read)
		}
		poll(t, l)
		if called != 1 {
			t.Errorf("hung up %v: %d calls, want 1", hungUp, called)
		}
	}
}

// TestRefusedByEpoll has epoll refuse a descriptor, as it does without memory. The handler hears
// nothing of that. The loop tries again in every turn and after a pause, without spinning, and no
// byte is lost.
func TestRefusedByEpoll(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	defer closeFD(t, w)
	held, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := unwatchable(t)
	if err := unix.Dup3(file, r, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	var d, closed Descriptor
	got := ""
	l.Attach(&d, r, readyFunc(func(Events) { got += string(drain(t, d.FD())) }))
	d.Want(Read)
	l.Attach(&closed, file, readyFunc(func(ev Events) { t.Errorf("Ready(%v) of a closed descriptor", ev) }))
	closed.Want(Read)
	write(t, w, "byte")
	for range 3 {
		poll(t, l)
		d.Want(0)
		d.Want(Read)
		if got != "" || len(l.dirty) != 2 {
			t.Fatalf("read %q, %d descriptors to retry; want none and 2", got, len(l.dirty))
		}
	}
	if ms := l.timeout(); ms != int(armPause.Milliseconds()) {
		t.Errorf("timeout() = %d ms, want %v", ms, armPause)
	}
	closed.Close()
	if err := unix.Dup3(held, r, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	closeFD(t, held)
	until(t, l, "the byte", func() bool { return got == "byte" })
	if len(l.dirty) != 0 || l.timeout() != -1 {
		t.Errorf("%d descriptors to retry, timeout() = %d ms; want 0 and -1",
			len(l.dirty), l.timeout())
	}
}

// TestStopBeforeRun is for a bug in which Run forgot a Stop that came before it. A dial that fails
// at once can stop the loop before it runs.
func TestStopBeforeRun(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	l.Stop()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	var d Timer
	l.Start(&d, 0, expiredFunc(func(*Timer) { l.Stop() }))
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
}

// TestTimerOverflow is for a bug in which a huge delay overflowed and the timer was due at once.
func TestTimerOverflow(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var tm Timer
	l.Start(&tm, math.MaxInt64, expiredFunc(func(*Timer) { t.Error("the timer expired") }))
	poll(t, l)
	if !tm.Running() {
		t.Error("Running() = false, want true")
	}
}

// TestTimerStartedInATurnWaitsForTheNext is for a bug in which a timer without a delay expired in
// the turn that started it. A handler that restarts its timer could keep the turn for ever on a
// coarse clock.
func TestTimerStartedInATurnWaitsForTheNext(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var d Descriptor
	var tm, other Timer
	expired := 0
	l.Start(&other, time.Hour, expiredFunc(func(*Timer) {}))
	l.Attach(&d, eventfd(t, 1), readyFunc(func(Events) {
		d.Want(0)
		l.Start(&tm, 0, expiredFunc(func(*Timer) { expired++; l.Start(&tm, 0, tm.handler) }))
	}))
	d.Want(Read)
	for want := range 4 {
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
		if expired != want {
			t.Fatalf("expired %d times in %d turns, want %d", expired, want+1, want)
		}
	}
}

// TestLoopClosedWithEverythingOpen is for a bug in which a timer of a closed loop counted as
// running, and Stop failed to find it.
func TestLoopClosedWithEverythingOpen(t *testing.T) {
	t.Parallel()
	l, err := New(4)
	if err != nil {
		t.Fatal(err)
	}
	h, far := open(t, l)
	write(t, far, "input")
	h.input = func([]byte) int { return 0 }
	until(t, l, "input", func() bool { return h.s.kept > 0 })
	fill(t, h.s.FD())
	h.say("output")
	src := &text{body: []byte("x"), step: 1}
	var late Descriptor
	src.done = func() { l.Attach(&late, eventfd(t, 0), readyFunc(func(Events) {})) }
	h.s.Send(src)
	var tm Timer
	l.Start(&tm, 0, expiredFunc(func(*Timer) {}))
	var ln Listener
	fd, err := ListenUnix(t.TempDir() + "/s")
	if err != nil {
		t.Fatal(err)
	}
	l.Listen(&ln, fd, "s", nil)
	l.Close()
	if tm.Running() || h.s.Descriptor.Open() || ln.Open() || late.Open() || src.lost != 1 {
		t.Errorf("timer %v, stream %v, listener %v, late %v, lost %d",
			tm.Running(), h.s.Descriptor.Open(), ln.Open(), late.Open(), src.lost)
	}
	tm.Stop()
}
