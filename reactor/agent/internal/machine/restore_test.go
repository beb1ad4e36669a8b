package machine

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// TestRestored holds which resets of connections are those of a restored machine.
func TestRestored(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		observation
		want bool
	}{
		"clock set forward":               {observation{clockStep: time.Hour}, true},
		"clock set back":                  {observation{clockStep: -time.Hour}, true},
		"host's clock ahead":              {observation{clockError: time.Second}, true},
		"host's clock behind":             {observation{clockError: -time.Second}, true},
		"both":                            {observation{clockStep: time.Hour, clockError: time.Hour}, true},
		"a few resets, one after another": {observation{spread: 100 * ms, clockStep: time.Hour}, true},
		"resets at other times":           {observation{spread: 101 * ms, clockStep: time.Hour}, false},
		"a connection is left":            {observation{connsLeft: 1, clockStep: time.Hour, clockError: time.Hour}, false},
		"nothing about the clock":         {observation{}, false},
		"a clock that is slewed":          {observation{clockStep: 100 * ms, clockError: -100 * ms}, false},
	} {
		if got := tt.restored(); got != tt.want {
			t.Errorf("%s: restored() = %v, want %v", name, got, tt.want)
		}
	}
}

// TestClockError reads other clocks beside the real one. International atomic time is ahead of
// it by whole seconds, or not at all where no program has told the kernel.
func TestClockError(t *testing.T) {
	t.Parallel()
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if d, ok := sys.ClockError(unix.CLOCK_REALTIME); !ok || d.Abs() > time.Second {
		t.Errorf("the clock is ahead of itself by %v, %v", d, ok)
	}
	if d, ok := sys.ClockError(unix.CLOCK_TAI); !ok || (d-d.Round(time.Second)).Abs() > time.Second/4 || d < -time.Second {
		t.Errorf("atomic time is ahead by %v, %v", d, ok)
	}
	if d, ok := sys.ClockError(unix.FdToClockID(null)); ok {
		t.Errorf("/dev/null is ahead by %v, want no clock", d)
	}
	var r restores
	r.clockStep()
	if step := r.clockStep(); step.Abs() > time.Second {
		t.Errorf("a clock that was not set has jumped by %v", step)
	}
}

// TestRestoresSeen has all connections of a host reset at once, and the clock set: a restore. A
// host that then tells of it tells of the same one, and each further time of another.
func TestRestoresSeen(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	// dial makes connections that end as the device would end them.
	dial := func(n int) {
		for range n {
			roomtest.Dial(t, func(fd int) { r.Do(func() { r.Server.Accept(fd, &roomtest.Link{IsVsock: true}, "test") }) })
		}
	}
	reset := func() { r.Server.All()[0].End(sys.NewError("read", "", unix.ECONNRESET)) }
	jump := func() { r.s.restores.clockOffset -= time.Hour }
	want := func(what string, epoch uint64) {
		t.Helper()
		r.Do(func() {
			if got := r.s.restores.epoch; got != epoch {
				t.Errorf("%s: epoch %d, want %d", what, got, epoch)
			}
			if r.restores != int(epoch) {
				t.Errorf("%s: Restored was called %d times, want %d", what, r.restores, epoch)
			}
		})
	}
	dial(2)
	r.Do(func() {
		jump()
		reset()
		if got := r.s.restores.epoch; got != 0 {
			t.Errorf("one of two connections was reset, and the clock set: epoch %d, want 0", got)
		}
		reset() // before a slow machine makes it another time
	})
	want("both were", 1)
	dial(1)
	r.Do(reset)
	want("a reset alone", 1)
	r.Do(jump)
	dial(1)
	want("the clock was set after the reset", 2)
	r.Do(func() { jump(); r.Server.All()[0].Close() })
	dial(1)
	want("an orderly end", 2)
	dial(1)
	r.Do(func() {
		jump()
		reset()
		r.s.restores.first -= time.Second // that long ago
		reset()
	})
	dial(1)
	want("resets at different times", 2)

	r.Do(func() { jump(); reset() })
	want("a reset, and the clock set", 3)
	h := r.Dial()
	for seq, epoch := range []uint64{3, 4, 5} {
		h.Send(framing.AppendRestore(nil, uint32(seq), 0, nil))
		if d := h.Done(uint32(seq)); d.Errno != 0 || d.Value != epoch {
			t.Errorf("restore request %d: errno %d (%s), epoch %d; want 0 and %d",
				seq+1, d.Errno, d.Reason, d.Value, epoch)
		}
	}
	h.Send(framing.AppendRestore(nil, 9, 1<<64-1, nil)) // after the end of the clock's range
	if d := h.Done(9); d.Errno == 0 || d.Value != 5 {
		t.Errorf("a restore at an invalid time: errno %d, epoch %d; want an error and 5", d.Errno, d.Value)
	}
}
