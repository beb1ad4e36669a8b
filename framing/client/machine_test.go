package client

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"wick/framing"
)

func TestStats(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	s, err := c.Stats(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	total, available := s.Memory()
	disk, free := s.Disk()
	rss, _ := s.AgentMemory()
	if total == 0 || available == 0 || available > total || disk == 0 || free > disk || s.Uptime() <= 0 || s.Processes() == 0 || rss == 0 {
		t.Errorf("got %v", s.values)
	}
	if _, ok := s.Lookup("load.1"); !ok {
		t.Error("there is no load")
	}
	if _, ok := s.Lookup("load.2"); ok {
		t.Error("there is a load of 2 minutes")
	}
	n := 0
	for name, value := range s.All() {
		if s.Get(name) != value {
			t.Errorf("%s is %d and %d", name, value, s.Get(name))
		}
		n++
	}
	if n < 10 {
		t.Errorf("%d figures", n)
	}
}

// TestMachineRefuses checks the errors of an agent that is not process 1.
func TestMachineRefuses(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	for name, err := range map[string]error{
		"power off": c.PowerOff(ctx, 0), "reboot": c.Reboot(ctx, time.Second), "halt": c.Halt(ctx, 0),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := c.Thaw(ctx); err == nil {
		t.Error("thawed what is not frozen")
	}
	for _, err := range []error{
		c.Freeze(ctx, 0), c.Freeze(ctx, -1), c.FreezeCommands(ctx, 0), c.PowerOff(ctx, -1), second(c.Restore(ctx, time.Time{}, make([]byte, MaxEntropy+1))),
	} {
		if !isType[*RequestError](err) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the agent must be root to feed the kernel's generator (run the tests as root)")
	}
	c := agentClient(t)
	ctx := testContext(t)
	before, err := c.Hello(ctx)
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := c.Restore(ctx, time.Time{}, []byte("not much, but it is something"))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this system lets nobody feed the kernel's generator (CAP_SYS_ADMIN)")
	}
	if err != nil || epoch != before.Epoch+1 {
		t.Errorf("epoch %d after %d, %v", epoch, before.Epoch, err)
	}
}

// TestPressure has a guest whose frames the test sends.
func TestPressure(t *testing.T) {
	c, p := pair(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	seen := make(chan uint64)
	over := background(func() (int, error) {
		for f, err := range c.WatchPressure(ctx, PressureWatch{framing.PressureIO, 100 * time.Millisecond, time.Second}) {
			if err != nil {
				return 0, err
			}
			seen <- f.Get("pressure.total")
			if f.Get("pressure.total") == 3 {
				return 0, nil
			}
		}
		return 0, nil
	})
	p.hello(everything)
	seq, payload := p.expect(framing.TypePressure)
	if w, err := framing.ParsePressure(payload); err != nil || w != (framing.Pressure{Resource: framing.PressureIO, StallUS: 100000, WindowUS: 1e6}) {
		t.Errorf("got %+v, %v", w, err)
	}
	p.send(framing.AppendDone(nil, seq, 0, 0, ""))
	for i := uint64(1); i <= 3; i++ {
		var f framing.Figures
		f.Add("pressure.total", i)
		p.send(framing.AppendFigures(nil, seq, f))
		if got := <-seen; got != i {
			t.Errorf("got %d, want %d", got, i)
		}
	}
	(<-over).must(t)
	if s, payload := p.expect(framing.TypeClose); s != seq || payload[0] != 0 {
		t.Errorf("closed %d of %d", payload, s)
	}
	// The watch is refused, and lost.
	for _, err := range c.WatchPressure(canceled(), PressureWatch{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	end := background(func() (int, error) {
		for _, err := range c.WatchPressure(ctx, PressureWatch{}) {
			return 0, err
		}
		return 0, nil
	})
	seq, _ = p.expect(framing.TypePressure)
	p.send(framing.AppendDone(nil, seq, uint32(syscall.EOPNOTSUPP), 0, "no PSI"))
	if err := (<-end).err; !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("got %v", err)
	}
	end = background(func() (int, error) {
		for _, err := range c.WatchPressure(ctx, PressureWatch{}) {
			return 0, err
		}
		return 0, nil
	})
	seq, _ = p.expect(framing.TypePressure)
	p.send(framing.AppendDone(nil, seq, 0, 0, ""))
	p.conn.Close()
	if err := (<-end).err; !isType[*ConnError](err) {
		t.Errorf("got %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestSetIdentity gives an agent of this machine an identity that changes nothing of it.
func TestSetIdentity(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the agent must be root to feed the kernel's generator (run the tests as root)")
	}
	c := agentClient(t)
	ctx := testContext(t)
	r, err := c.SetIdentity(ctx, Identity{Entropy: []byte("some")})
	if err != nil || r.Epoch != 1 || r.Err() != nil {
		t.Fatalf("SetIdentity = %+v, %v, want epoch 1", r, err)
	}
	if p, ok := r.Part("entropy"); !ok || p.Err != nil {
		t.Errorf("entropy: %+v, %v, want it done", p, ok)
	}
	if p, ok := r.Part("clock"); ok {
		t.Errorf("clock: %+v, want no such part", p)
	}
	for _, id := range []Identity{
		{Hostname: "a b"}, {MachineID: "7"}, {Timezone: "../x"},
		{Network: &Network{Interfaces: []string{"lo"}, Hostname: "a"}, DropConnections: true},
	} {
		if _, err := c.SetIdentity(ctx, id); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v, want EINVAL", id, err)
		}
	}
	for _, id := range []Identity{
		{Hostname: "a\x00"}, {Entropy: make([]byte, MaxEntropy+1)}, {Network: &Network{}},
		{Network: &Network{DNS: []string{"\x00"}}},
	} {
		if _, err := c.SetIdentity(ctx, id); !isType[*RequestError](err) {
			t.Errorf("%+v: %v, want a RequestError", id, err)
		}
	}
	failed := &IdentityResult{Parts: []IdentityPart{
		{Name: "hostname", Err: &OpError{"restore: hostname", syscall.EPERM, ""}},
		{Name: "connections", Value: 3}, {Name: "command", Value: 7},
	}}
	if err := failed.Err(); !errors.Is(err, syscall.EPERM) ||
		err.Error() != "restore: hostname: operation not permitted\nrestore: command: exit code 7" {
		t.Errorf("Err() = %v, want both failures", err)
	}
}
