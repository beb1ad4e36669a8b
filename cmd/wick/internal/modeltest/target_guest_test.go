package modeltest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/machinetest"
)

// guestTarget is the agent of a booted machine. Hosts reach it over vsock, as with Firecracker.
type guestTarget struct {
	m *machine.Machine
}

// there is the load for an emulated machine with 128 MiB.
var there = scale{hosts: 3, batch: 6, output: 100 << 10, file: 200 << 10, timeout: 2000, holds: 15, rareSync: 5}

// startGuest boots a machine with options of vm-init, or skips the test. The machine is killed when
// the test ends.
func startGuest(t *testing.T, options ...string) *guestTarget {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	init, err := initProgram()
	if err != nil {
		t.Fatal(err)
	}
	fixture, err := machinetest.New(ctx, runtime.GOARCH, init, machine.Trial)
	machinetest.Need(t, err)
	dir, err := os.MkdirTemp("/tmp", "model-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	overlay := filepath.Join(dir, "overlay.ext4")
	machinetest.Need(t, image.Overlay(ctx, overlay, 256))
	spec := fixture.Spec(overlay)
	spec.InitArgs = append(spec.InitArgs, options...)
	config := machine.Config{Spec: spec, Choice: fixture.Choice, Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	m, err := machine.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			t.Logf("the console ends with\n%s", strings.Join(m.ConsoleTail(30), "\n"))
		}
	})
	c, err := m.Dial(ctx, 2*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	t.Logf("on %s", config.Choice.Engine())
	return &guestTarget{m}
}

func (w *guestTarget) pid() string      { return "1" }
func (w *guestTarget) exact() bool      { return false }
func (w *guestTarget) strays() []string { return nil } // orphans are children of process 1
func (w *guestTarget) reset() bool      { return w.m.Reset() == nil }

func (w *guestTarget) look(model *model) (string, error) {
	r, err := model.run(fmt.Sprintf(lookScript, w.pid(), model.dir))
	return string(r.stdout), err
}

func (w *guestTarget) dial() (c *net.UnixConn, err error) {
	err = until(func() error {
		select {
		case <-w.m.Done():
			return nil
		default:
		}
		c, err = w.connect()
		return err
	})
	if c == nil && err == nil {
		err = fmt.Errorf("the machine has ended: %v", w.m.Exit())
	}
	return c, err
}

// connect connects to the agent through the monitor's Unix socket, as with Firecracker.
func (w *guestTarget) connect() (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: w.m.UDS(), Net: "unix"})
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	defer c.SetDeadline(time.Time{})
	line := make([]byte, 0, 32)
	if _, err = io.WriteString(c, "CONNECT 1000\n"); err == nil {
		// Read single bytes, because frames follow the line.
		for err == nil && len(line) < cap(line) && !strings.HasSuffix(string(line), "\n") {
			_, err = c.Read(line[len(line) : len(line)+1])
			line = line[:len(line)+1]
		}
	}
	if err == nil && !strings.HasPrefix(string(line), "OK ") {
		err = fmt.Errorf("CONNECT is answered by %q", line)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// TestResetGuest is TestReset in a booted machine, where the vsock device resets the connections.
func TestResetGuest(t *testing.T) {
	if *guestReset == 0 {
		t.Skip("takes minutes where machines are emulated: run with -modeltest.guest-resets N")
	}
	m := newModel(t, startGuest(t), "/root/model", there, seeds(1)[0])
	m.resetTest(t, *guestReset)
}
