package torment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
)

// guestWay is the agent of a booted machine, reached over vsock as behind Firecracker.
type guestWay struct {
	m *machine.Machine
}

// there is what an emulated machine with 128 MiB can bear.
var there = scale{hosts: 3, batch: 6, output: 100 << 10, file: 200 << 10, timeout: 2000, holds: 15, rareSync: 5}

// startGuest boots a machine, or skips. It is killed at the test's end.
func startGuest(t *testing.T) *guestWay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	config, err := guestConfig(ctx, t)
	_, noVMM := errors.AsType[*vmm.BackendError](err)
	_, noPackage := errors.AsType[*debian.UnavailableError](err)
	tool, noTool := errors.AsType[*image.ToolError](err)
	if noVMM || noPackage || noTool && tool.Remedy != "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
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
	return &guestWay{m}
}

func guestConfig(ctx context.Context, t *testing.T) (c machine.Config, err error) {
	store, err := cache.Default()
	if err != nil {
		return c, err
	}
	k, err := kernel.Debian(ctx, store)
	if err != nil {
		return c, err
	}
	if c.Choice, err = vmm.Look().Choose(vmm.QEMU, machine.Trial(ctx, store, k.Image)); err != nil {
		return c, err
	}
	dir, err := os.MkdirTemp("/tmp", "torment-") // short enough for a socket
	if err != nil {
		return c, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	put(t, initProgram, filepath.Join(dir, "vm-init"))
	root, err := image.Build(ctx, store, "", filepath.Join(dir, "vm-init"))
	if err != nil {
		return c, err
	}
	initramfs, err := k.Initramfs(ctx, store, kernel.Initramfs{Init: root.Init})
	if err != nil {
		return c, err
	}
	overlay := filepath.Join(dir, "overlay.ext4")
	if err := image.Overlay(ctx, overlay, 256); err != nil {
		return c, err
	}
	c.Dir = dir
	c.Spec = vmm.Spec{Kernel: k.Image, Initramfs: initramfs, Drives: []vmm.Drive{{Path: root.Path, ReadOnly: true}, {Path: overlay}}}
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return c, nil
}

func (w *guestWay) pid() string      { return "1" }
func (w *guestWay) exact() bool      { return false }
func (w *guestWay) strays() []string { return nil } // they are children of process 1
func (w *guestWay) reset() bool      { return w.m.Reset() == nil }

func (w *guestWay) look(world *world) (string, error) {
	r, err := world.run(fmt.Sprintf(lookScript, w.pid(), world.dir))
	return string(r.stdout), err
}

func (w *guestWay) dial() (c *net.UnixConn, err error) {
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

// connect is the way in as Firecracker has it.
func (w *guestWay) connect() (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: w.m.UDS(), Net: "unix"})
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	defer c.SetDeadline(time.Time{})
	line := make([]byte, 0, 32)
	if _, err = io.WriteString(c, "CONNECT 1000\n"); err == nil {
		// What follows the line is for the reader of frames.
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

// TestResetGuest is TestReset in a booted machine, where the reset is one of the vsock device.
func TestResetGuest(t *testing.T) {
	if *guestReset == 0 {
		t.Skip("takes minutes where machines are emulated: run with -torment.guest-resets N")
	}
	w := newWorld(t, startGuest(t), "/root/torment", there, seeds(1)[0])
	w.resetTest(t, *guestReset)
}
