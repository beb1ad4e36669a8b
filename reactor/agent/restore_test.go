package agent

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
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
	if d, ok := clockError(unix.CLOCK_REALTIME); !ok || d.Abs() > time.Second {
		t.Errorf("the clock is ahead of itself by %v, %v", d, ok)
	}
	if d, ok := clockError(unix.CLOCK_TAI); !ok || (d-d.Round(time.Second)).Abs() > time.Second/4 || d < -time.Second {
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
	if d, ok := clockError(unix.FdToClockID(int(f.Fd()))); ok {
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
	if d := ask(2, 0, make([]byte, maxEntropy+1)); d.Errno != uint32(unix.EINVAL) {
		t.Errorf("too much entropy: %+v", d)
	}
	want := uint64(1)
	d := ask(3, 0, make([]byte, maxEntropy))
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
					c.link = &vsockListen{agent: a}
				}
			}
		})
	}
	reset := func(a *Agent, c *conn) {
		c.End(opError("read", "", unix.ECONNRESET))
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
