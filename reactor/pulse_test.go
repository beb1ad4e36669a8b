package reactor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPulse holds that waits are raw after an event, and that the pulse ends them when nothing
// happens. Further events do not arm it again.
func TestPulse(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	defer closeFD(t, w)
	var d Descriptor
	events := 0
	l.Attach(&d, r, readyFunc(func(Events) {
		events++
		drain(t, d.FD())
	}))
	d.Want(Read)
	if poll(t, l); l.pulse.start() {
		t.Error("the wait is raw before the first event")
	}
	write(t, w, "a")
	until(t, l, "the first event", func() bool { return events == 1 })
	if !l.pulse.start() {
		t.Fatal("the wait is not raw after an event")
	}
	// The time that is left tells whether an event arms the pulse. Here it would be a minute.
	far := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(time.Minute))}
	if err := unix.TimerfdSettime(l.pulse.fd, 0, &far, nil); err != nil {
		t.Fatal(err)
	}
	write(t, w, "b")
	until(t, l, "the second event", func() bool { return events == 2 })
	if left := pulseLeft(t, l); !l.pulse.start() || left < 2*pulsePeriod {
		t.Errorf("an event arms the pulse: %v are left, want most of a minute", left)
	}

	soon := unix.ItimerSpec{Value: unix.NsecToTimespec(1)}
	if err := unix.TimerfdSettime(l.pulse.fd, 0, &soon, nil); err != nil {
		t.Fatal(err)
	}
	var after Timer
	over := false
	l.Start(&after, 3*pulsePeriod, expiredFunc(func(*Timer) { over = true }))
	turns := until(t, l, "the pulses", func() bool { return over && !l.pulse.raw })
	if left := pulseLeft(t, l); l.pulse.start() || left != 0 {
		t.Errorf("without events: a raw wait, or a pulse in %v; want neither", left)
	}
	if turns > fewTurns {
		t.Errorf("%d turns, want at most %d", turns, fewTurns)
	}
}

// pulseLeft returns the time until the next pulse, or 0 if no pulse will come.
func pulseLeft(t *testing.T, l *Loop) time.Duration {
	t.Helper()
	var left unix.ItimerSpec
	if err := unix.TimerfdGettime(l.pulse.fd, &left); err != nil {
		t.Fatal(err)
	}
	return time.Duration(left.Value.Nano())
}
