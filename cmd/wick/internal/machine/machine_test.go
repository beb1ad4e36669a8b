package machine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/vmm"
	"wick/framing"
	"wick/framing/client"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(holderEnv) != "" {
		holder()
	}
	if os.Getenv(standInEnv) != "" {
		standIn()
	}
	leaktest.Main(m, cache.Release)
}

// testContext returns a context that ends shortly before the test's deadline.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fake returns a monitor that is a shell script. It stands in for Firecracker, whose command line
// needs no monitor connection.
func fake(t *testing.T, script string) vmm.Choice {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firecracker")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return vmm.Choice{Backend: vmm.Firecracker, Program: path, KVM: true}
}

// socketDir returns a directory short enough for a socket's path. t.TempDir may be too long.
func socketDir(t *testing.T) string {
	t.Helper()
	d, err := newDir(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.remove)
	return d.path
}

func startFake(t *testing.T, script string) *Machine {
	t.Helper()
	m, err := Start(testContext(t), Config{Choice: fake(t, script), Dir: socketDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	return m
}

func TestBootErrors(t *testing.T) {
	for _, tt := range []struct{ name, script, want, console string }{
		{"monitor fails", "echo 'no such kernel' >&2; exit 3", "boot the machine: firecracker failed: exit status 3: no such kernel", ""},
		{"panic", "echo before; echo '[ 1.0] Kernel panic - not syncing: No init'; echo '[ 1.1] RIP'",
			"boot the machine: kernel panic: No init", "before|[ 1.0] Kernel panic - not syncing: No init"},
		{"the runtime's panic", "echo before; echo 'panic: no reason'; echo; echo 'goroutine 1 [running]:'; seq 40; echo '[ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200'",
			"boot the machine: kernel panic: Attempted to kill init! exitcode=0x00000200: panic: no reason",
			"panic: no reason|[ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200"},
		{"the runtime's fatal error", "echo 'runtime: cannot allocate'; printf 'fatal error: out of memory\\r\\n'; echo; seq 40; echo 'Kernel panic - not syncing: Attempted to kill init!'",
			"boot the machine: kernel panic: Attempted to kill init!: fatal error: out of memory",
			"runtime: cannot allocate|fatal error: out of memory|Kernel panic - not syncing: Attempted to kill init!"},
		{"leaves", "echo bye", "boot the machine: the guest went down", "bye"},
		{"mute", "exec sleep 60", "boot the machine: the guest did not say ready within 300ms", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := startFake(t, tt.script)
			_, err := m.Dial(testContext(t), 300*time.Millisecond)
			boot, ok := errors.AsType[*BootError](err)
			if !ok || err.Error() != tt.want {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if got := strings.Join(boot.Console, "|"); got != tt.console {
				t.Errorf("console %q, want %q", got, tt.console)
			}
		})
	}
}

// TestGuestSaysWhy has a guest that could not boot. It reports the reason on a connection of its
// own, and then goes down.
func TestGuestSaysWhy(t *testing.T) {
	seen := &watcher{text: "no overlay\n", found: make(chan struct{})}
	choice := fake(t, "echo 'vm-init: no overlay'; exec sleep 60")
	m, err := Start(testContext(t), Config{Choice: choice, Dir: socketDir(t), Console: seen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	said := make(chan error, 1)
	go func() {
		<-seen.found
		for {
			conn, err := net.Dial("unix", m.UDS()+"_1000")
			if err != nil {
				time.Sleep(time.Millisecond) // Dial does not listen yet
				continue
			}
			_, err = conn.Write(framing.AppendError(nil, 0, "overlay: no such device"))
			conn.Close()
			m.Kill()
			said <- err
			return
		}
	}()
	_, err = m.Dial(testContext(t), time.Minute)
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	if guest, ok := errors.AsType[*client.BootError](err); !ok || guest.Message != "overlay: no such device" {
		t.Errorf("error %v, want what the guest said", err)
	}
	if boot, ok := errors.AsType[*BootError](err); !ok || len(boot.Console) != 1 || boot.Console[0] != "vm-init: no overlay" {
		t.Errorf("error %#v, want the console with it", err)
	}
}

func TestDialEndsWithContext(t *testing.T) {
	m := startFake(t, "exec sleep 60")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Dial(ctx, time.Minute); err != context.Canceled {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestKillLeavesNothing(t *testing.T) {
	m := startFake(t, "exec sleep 60")
	if exit := m.Kill(); !exit.Killed || exit.String() != "killed" {
		t.Errorf("exit %v, want killed", exit)
	}
	m.Kill() // idempotent
	for _, path := range m.files {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	for _, err := range []error{m.Reset(), m.CtrlAltDel(context.Background())} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("error %v, want unsupported", err)
		}
	}
}

// TestStartFails checks that a missing monitor leaves nothing behind. The leak check at the end
// detects it.
func TestStartFails(t *testing.T) {
	for _, backend := range []string{vmm.Firecracker, vmm.QEMU} {
		choice := vmm.Choice{Backend: backend, Program: "/nonexistent"}
		_, err := Start(testContext(t), Config{Choice: choice, Dir: socketDir(t)})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: error %v, want that it does not exist", backend, err)
		}
	}
}

func TestMonitorThatDiesAtOnce(t *testing.T) {
	choice := fake(t, "echo 'bad machine' >&2; exit 1")
	choice.Backend = vmm.QEMU
	_, err := Start(testContext(t), Config{Choice: choice, Dir: socketDir(t)})
	if failed, ok := errors.AsType[*MonitorError](err); !ok || failed.Output != "bad machine" {
		t.Errorf("error %v, want a MonitorError that says why", err)
	}
}

func TestParsePut(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Put
		bad  bool
	}{
		{"a:/b", Put{"a", "/b"}, false},
		{"x/a.txt:/tmp/", Put{"x/a.txt", "/tmp/a.txt"}, false},
		{"a:/b:c", Put{"a", "/b:c"}, false},
		{"a", Put{}, true}, {":/b", Put{}, true}, {"a:b", Put{}, true}, {"", Put{}, true},
	} {
		got, err := ParsePut(tt.in)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("ParsePut(%q) = %v, %v", tt.in, got, err)
		}
	}
}
