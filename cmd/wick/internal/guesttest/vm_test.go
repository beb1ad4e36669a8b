package guesttest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// These deadlines suit busy hosts.
const (
	bootLimit = 2 * time.Minute
	stepLimit = time.Minute
	// downLimit limits a shutdown: the 6 s that its processes may take, and the pace of an
	// emulator.
	downLimit = time.Minute
)

// slots limits the machines that run at a time.
var slots = make(chan struct{}, 2)

// vm is a machine under test.
type vm struct {
	*machine.Machine
	t       *testing.T
	fixture *fixture
	console *console
	// free releases the machine's slot.
	free func()
}

// config is the configuration of a machine to boot.
type config struct {
	vmm.Spec
	// overlay is the image of the overlay disk, or "" for none.
	overlay string
	// before, if not nil, is called before the machine starts, with the path of the socket of its
	// vsock device.
	before func(uds string)
}

// usual returns the configuration with the root image and a new overlay disk.
func usual(t *testing.T, l *fixture) *config {
	return &config{
		Spec:    l.Spec(""),
		overlay: newOverlay(t, 256),
	}
}

// start boots a machine and returns before it is up. At the test's end the machine is killed, and
// its console shown if the test has failed.
func start(t *testing.T, l *fixture, c *config) *vm {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "guest-") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if c.before != nil {
		c.before(filepath.Join(dir, "vsock"))
	}
	slots <- struct{}{}
	v := &vm{t: t, fixture: l, console: newConsole(), free: sync.OnceFunc(func() { <-slots })}
	t.Cleanup(v.free)
	spec := c.Spec
	if c.overlay != "" {
		spec.Drives = append(spec.Drives[:len(spec.Drives):len(spec.Drives)], vmm.Drive{Path: c.overlay})
	}
	v.Machine, err = machine.Start(deadline(t, stepLimit), machine.Config{Spec: spec, Choice: l.Choice, Dir: dir, Console: v.console})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.Kill()
		if t.Failed() {
			t.Logf("the console's end:\n%s", strings.Join(v.ConsoleTail(60), "\n"))
		}
	})
	return v
}

// boot boots a machine and waits for the guest's connection.
func boot(t *testing.T, l *fixture, c *config) (*vm, *client.Client) {
	t.Helper()
	v := start(t, l, c)
	conn, err := v.Dial(deadline(t, bootLimit), bootLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return v, conn
}

// gone waits until the machine has ended by itself, and releases its slot.
func (v *vm) gone() {
	v.t.Helper()
	v.goneBy("guest-reset")
}

// goneBy is like gone, for another end than a reset, by QEMU's name for it.
func (v *vm) goneBy(want string) {
	v.t.Helper()
	exit, err := v.Wait(deadline(v.t, downLimit))
	if err != nil {
		v.t.Fatalf("the machine does not go down: %v", err)
	}
	if exit != (machine.Exit{}) {
		v.t.Errorf("the machine ended by %v, want that the guest went down", exit)
	}
	if reason := v.QMP().Reason(); reason != want {
		v.t.Errorf("qemu's reason is %q, want %s", reason, want)
	}
	v.free()
}

// listenAt listens for the guest's connections to a port of the host.
func listenAt(t *testing.T, uds, port string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: uds + "_" + port, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.SetDeadline(time.Now().Add(bootLimit))
	return l
}

// deadline returns a context with a limit.
func deadline(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// file writes content to a temporary file and returns its path.
func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
