package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/sys"
)

func TestRestored(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		sight
		want bool
	}{
		"clock set forward":               {sight{step: time.Hour}, true},
		"clock set back":                  {sight{step: -time.Hour}, true},
		"host's clock ahead":              {sight{wrong: time.Second}, true},
		"host's clock behind":             {sight{wrong: -time.Second}, true},
		"both":                            {sight{step: time.Hour, wrong: time.Hour}, true},
		"a few resets, one after another": {sight{spread: 100 * ms, step: time.Hour}, true},
		"resets at other times":           {sight{spread: 101 * ms, step: time.Hour}, false},
		"a connection is left":            {sight{open: 1, step: time.Hour, wrong: time.Hour}, false},
		"nothing about the clock":         {sight{}, false},
		"a clock that is slewed":          {sight{step: 100 * ms, wrong: -100 * ms}, false},
	} {
		if got := tt.restored(); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestClockError reads other clocks beside the real one. International atomic time is ahead of it by whole seconds, or not at all where
// nobody has told the kernel.
func TestClockError(t *testing.T) {
	t.Parallel()
	if d, ok := sys.ClockError(unix.CLOCK_REALTIME); !ok || d.Abs() > time.Second {
		t.Errorf("the clock is ahead of itself by %v, %v", d, ok)
	}
	if d, ok := sys.ClockError(unix.CLOCK_TAI); !ok || (d-d.Round(time.Second)).Abs() > time.Second/4 || d < -time.Second {
		t.Errorf("atomic time is ahead by %v, %v", d, ok)
	}
	var r restores
	r.step()
	if step := r.step(); step.Abs() > time.Second {
		t.Errorf("a clock that nobody set has jumped by %v", step)
	}
	// A descriptor that is no clock's.
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d, ok := sys.ClockError(unix.FdToClockID(int(f.Fd()))); ok {
		t.Errorf("/dev/null is ahead by %v", d)
	}
}

// TestRestore is a host's word. It leaves this machine's clock alone.
func TestRestore(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	h.extend()
	ask := func(seq uint32, ns uint64, entropy []byte) framing.Done {
		h.send(framing.AppendRestore(nil, seq, ns, entropy))
		return h.done(seq)
	}
	if d := ask(1, 0, nil); d.Errno != 0 || d.Value != 1 {
		t.Errorf("restore: %+v", d)
	}
	if d := ask(2, 0, make([]byte, sys.MaxEntropy+1)); d.Errno != uint32(unix.EINVAL) {
		t.Errorf("too much entropy: %+v", d)
	}
	want := uint64(1)
	d := ask(3, 0, make([]byte, sys.MaxEntropy))
	if os.Geteuid() != 0 {
		if d.Errno != uint32(unix.EPERM) {
			t.Errorf("entropy of somebody: %+v", d)
		}
	} else if want++; d.Errno != 0 || d.Value != want {
		t.Errorf("entropy: %+v (%s)", d, d.Reason)
	}
	// After the end of a clock's range, which the kernel refuses.
	if d := ask(4, 1<<64-1, nil); d.Errno == 0 || d.Value != want {
		t.Errorf("a time that is none: %+v", d)
	}
	h.send(framing.AppendHello(nil, 5, 1))
	var r framing.HelloResult
	if err := framing.ParseHelloResult(h.want(framing.TypeHelloResult, 5), &r); err != nil || r.Epoch != want {
		t.Errorf("epoch %d, %v", r.Epoch, err)
	}
}

// TestRestoreThaws restores a machine whose snapshot was made while it was frozen, and while it was being frozen.
func TestRestoreThaws(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dial()
	h.extend()
	restored := func(seq uint32, epoch uint64) {
		t.Helper()
		if d := h.done(seq); d.Errno != 0 || d.Value != epoch {
			t.Errorf("restore: done says errno %d (%s), value %d; want 0 and %d", d.Errno, d.Reason, d.Value, epoch)
		}
	}
	write := func(name string) {
		t.Helper()
		h.send(fileFrame(9, filepath.Join(dir, name), nil))
		if reason := h.wrote(9); reason != "" {
			t.Errorf("write %s after a restore: %s", name, reason)
		}
	}
	h.freeze(1, maxFreeze)
	h.wantDone(1, 0)
	h.send(framing.AppendRestore(nil, 2, 0, nil))
	restored(2, 1)
	write("frozen")
	h.thaw(3)
	h.wantDone(3, unix.EINVAL)

	// The watchdog of the first freeze is gone by then, so the next can begin.
	path, gate := b.fifo("gate")
	b.do(func(a *Agent) {
		a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + path + "; fsfreeze -f " + dir + " && printf . && exec sleep 1000"}
	})
	h.freeze(4, maxFreeze)
	b.until("freezing", func(a *Agent) bool { return a.freezer.state == freezing })
	h.send(framing.AppendRestore(nil, 5, 0, nil))
	h.ping(6)
	h.send(framing.AppendRestore(nil, 7, 0, nil)) // the freeze has been called off, and there is nothing to wait for
	restored(7, 3)
	gate.WriteString("\n")
	h.wantDone(4, unix.ECANCELED)
	restored(5, 2)
	write("freezing")

	// What cannot be thawed is said.
	nothing, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0) // no ioctl(2) takes it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nothing)
	gate.WriteString("\n")
	h.freeze(10, maxFreeze)
	h.wantDone(10, 0)
	var disk int
	b.do(func(a *Agent) { disk, a.cfg.FreezeFD = a.cfg.FreezeFD, nothing })
	h.send(framing.AppendRestore(nil, 11, 0, nil))
	if d := h.done(11); d.Errno != uint32(unix.EBADF) || d.Value != 4 {
		t.Errorf("restore of what cannot be thawed: errno %d, value %d; want %d and 4", d.Errno, d.Value, unix.EBADF)
	}
	b.do(func(a *Agent) { a.cfg.FreezeFD = disk })
	h.thaw(12)
	h.wantDone(12, 0)
}

// TestRestoresSeen has the agent take the connections of a Unix socket for the host's, and the clock for one that was set.
func TestRestoresSeen(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	epoch := func() (n uint64) {
		b.do(func(a *Agent) { n = a.restores.epoch })
		return n
	}
	// hosts are connections that end as the device would end them.
	hosts := func(n int) {
		for range n {
			b.dial()
		}
		b.do(func(a *Agent) {
			for _, c := range a.conns {
				if !c.vsock() {
					a.restores.opened(a)
					c.link = link.NewListen((*linkHost)(a), a.loop, a.log, 0)
				}
			}
		})
	}
	reset := func(a *Agent, c *conn) {
		c.End(sys.NewError("read", "", unix.ECONNRESET))
	}
	jump := func(a *Agent) { a.restores.wall -= time.Hour }

	hosts(2)
	b.do(func(a *Agent) {
		jump(a)
		reset(a, a.conns[0])
		if a.restores.epoch != 0 {
			t.Error("one of two connections was enough")
		}
		reset(a, a.conns[0])
	})
	if n := epoch(); n != 1 {
		t.Errorf("both were reset, and the clock set before: epoch %d", n)
	}
	hosts(1)
	b.do(func(a *Agent) { reset(a, a.conns[0]) })
	if n := epoch(); n != 1 {
		t.Errorf("a reset alone: epoch %d", n)
	}
	b.do(jump)
	hosts(1)
	if n := epoch(); n != 2 {
		t.Errorf("the clock was set after the reset: epoch %d", n)
	}
	b.do(func(a *Agent) {
		jump(a)
		a.conns[0].close()
	})
	hosts(1)
	if n := epoch(); n != 2 {
		t.Errorf("an orderly end is none: epoch %d", n)
	}
	hosts(1)
	b.do(func(a *Agent) {
		jump(a)
		reset(a, a.conns[0])
		a.restores.first -= time.Second // that long ago
		reset(a, a.conns[0])
	})
	hosts(1)
	if n := epoch(); n != 2 {
		t.Errorf("resets at other times: epoch %d", n)
	}
}
