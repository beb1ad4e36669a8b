package machine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestPool takes two machines of a pool of one, and closes it while the third boots or waits.
func TestPool(t *testing.T) {
	t.Parallel()
	c := bootable(t)
	c.Tmpfs = true
	p, err := NewPool(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	seen := map[string]bool{}
	for range 2 {
		m, err := p.Get(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Kill()
		if got := run(t, m, "ls /mark; echo $?; echo >/mark"); got != "ls: /mark: No such file or directory\n1" {
			t.Errorf("a machine of the pool was used before: %q", got)
		}
		seen[m.UDS()] = true
	}
	if len(seen) != 2 {
		t.Errorf("two machines with %d sockets", len(seen))
	}
	p.Close()
	if _, err := p.Get(testContext(t)); err != ErrPoolClosed {
		t.Errorf("Get after Close: %v, want ErrPoolClosed", err)
	}
	for m := range seen {
		if len(m) == 0 {
			t.Error("a machine without a socket")
		}
	}
}

// TestPoolOfFailures hands the error of a boot to the Get that waits, and tries again.
func TestPoolOfFailures(t *testing.T) {
	var boots atomic.Int32
	p, err := newPool(Config{}, 2, func(context.Context, Config) (*Machine, error) {
		boots.Add(1)
		return nil, syscall.ENOSPC
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := p.Get(testContext(t)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Get = %v, want ENOSPC", err)
		}
	}
	p.Close()
	p.Close()
	if n := boots.Load(); n < 3 || n > 5 {
		t.Errorf("%d boots for 3 errors of a pool of 2", n)
	}
}

// TestPoolWaits ends a Get with its context, and a boot with Close.
func TestPoolWaits(t *testing.T) {
	p, err := newPool(Config{}, 1, func(ctx context.Context, _ Config) (*Machine, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %v, want the context's error", err)
	}
	p.Close()
}

// TestConfigRefused refuses a Config that contradicts itself before anything is made.
func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"two roots":         {Image: "alpine", Rootfs: "/srv"},
		"an image's name":   {Image: "Al pine"},
		"pull":              {Image: "alpine", Pull: "sometimes"},
		"drives and root":   {DrivesOnly: true, Rootfs: "/srv", Drives: []Drive{{Path: "/d"}}},
		"no drives":         {DrivesOnly: true},
		"a drive's path":    {Drives: []Drive{{}}},
		"serial":            {Drives: []Drive{{Path: "/d", Serial: "a serial of 21 bytes."}}},
		"overlay and tmpfs": {Overlay: "/o", Tmpfs: true},
		"memory":            {MemoryMiB: -1},
		"network":           {Net: "bridge"},
		"namespace":         {Net: "user", NetNS: "/run/netns/x"},
		"more networks":     {Net: "user", MoreNets: []string{"user"}},
		"more alone":        {MoreNets: []string{"tap=t0"}},
		"layers and root":   {Base: []string{"/a"}, Rootfs: "/srv"},
		"layers and drives": {Base: []string{"/a"}, DrivesOnly: true, Drives: []Drive{{Path: "/d"}}},
		"namespace alone":   {NetNS: "/run/netns/x"},
		"volume's target":   {Volumes: []Volume{{Target: "srv"}}},
		"volume's options":  {Volumes: []Volume{{Target: "/srv", Options: "ro:x"}}},
		"volume's sources":  {Volumes: []Volume{{Target: "/srv", Dir: "/d", Disk: "/e"}}},
		"volumes":           {Volumes: slices.Repeat([]Volume{{Target: "/srv"}}, 17)},
		"architecture":      {Arch: "riscv64"},
	} {
		m, err := Boot(t.Context(), c)
		if _, ok := errors.AsType[*ConfigError](err); m != nil || !ok {
			t.Errorf("%s: Boot = %v, want a ConfigError", name, err)
		}
	}
	for name, c := range map[string]Config{
		"overlay": {Overlay: "/o"}, "drive": {Drives: []Drive{{Path: "/d"}}}, "disk": {Volumes: []Volume{{Target: "/d", Disk: "/e"}}}, "tap": {Net: "tap=t0"},
	} {
		if _, err := NewPool(c, 2); err == nil {
			t.Errorf("%s: NewPool has no error", name)
		}
	}
	for _, n := range []int{-1, 0, MaxPool + 1} {
		if _, err := NewPool(Config{}, n); err == nil {
			t.Errorf("NewPool of %d has no error", n)
		}
	}
}
