package machine

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
)

// bootable returns a machine whose init is a shell script, or skips the test.
func bootable(t *testing.T, script string) (vmm.Spec, vmm.Choice) {
	t.Helper()
	machinetest.Boots(t)
	fixture, err := machinetest.New(testContext(t), runtime.GOARCH, []byte("#!/bin/sh\n"+script+"\n"), Trial)
	machinetest.Need(t, err)
	return fixture.Spec(""), fixture.Choice
}

// boot boots the machine and waits for its end.
func boot(t *testing.T, spec vmm.Spec, choice vmm.Choice) *Machine {
	t.Helper()
	m, err := Start(testContext(t), Config{Spec: spec, Choice: choice, Dir: socketDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	if _, err := m.Wait(testContext(t)); err != nil {
		t.Fatalf("%v; the console:\n%s", err, strings.Join(m.ConsoleTail(40), "\n"))
	}
	return m
}

func TestBootReachesInit(t *testing.T) {
	spec, choice := bootable(t, `
echo "init has $*"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
[ -c /dev/null ] && [ -b /dev/vda ] && [ -b /dev/vdb ] && [ -d /sys/bus/virtio/drivers/vmw_vsock_virtio_transport ] && echo "all is there"
mount -t ext4 /dev/vdb /mnt && echo "stored: $(cat /mnt/boots)" && echo x >>/mnt/boots && umount /mnt
reboot -f`)
	overlay := filepath.Join(t.TempDir(), "overlay")
	if err := image.Overlay(testContext(t), overlay, 64); err != nil {
		t.Fatal(err)
	}
	spec.Drives = append(spec.Drives, vmm.Drive{Path: overlay})
	spec.InitArgs = []string{"--one", "two"}
	for _, stored := range []string{"", "x"} { // the second boot finds what the first one stored
		m := boot(t, spec, choice)
		if exit := m.Exit(); exit != (Exit{}) {
			t.Errorf("exit %v, want that the guest went down", exit)
		}
		if m.QMP().Reason() != "guest-reset" {
			t.Errorf("qemu's reason %q, want guest-reset", m.QMP().Reason())
		}
		lines := m.ConsoleTail(0)
		for _, want := range []string{"init has --one two", "all is there", "stored: " + stored} {
			if !slices.Contains(lines, want) {
				t.Errorf("the console lacks %q:\n%s", want, strings.Join(lines, "\n"))
			}
		}
	}
	out, err := exec.Command("e2fsck", "-fn", overlay).CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func TestBootPanics(t *testing.T) {
	spec, choice := bootable(t, "exit 3")
	if exit := boot(t, spec, choice).Exit(); !strings.Contains(exit.Panic, "Attempted to kill init") {
		t.Errorf("exit %v, want the panic", exit)
	}
}

func TestBootWithoutDisk(t *testing.T) {
	spec, choice := bootable(t, "exit 3")
	if spec.Initramfs == "" {
		t.Skip("$WICK_KERNEL mounts the root image by itself")
	}
	spec.Drives = nil
	m := boot(t, spec, choice)
	if last := strings.Join(m.lastWords(), "\n"); !strings.Contains(last, "initramfs: no disk /dev/vda") {
		t.Errorf("the console does not say that the disk is missing:\n%s", last)
	}
}

func TestCtrlAltDel(t *testing.T) {
	spec, choice := bootable(t, `
mount -t proc proc /proc
echo 0 >/proc/sys/kernel/ctrl-alt-del
trap 'echo the keys came; reboot -f' INT
echo waiting
while :; do sleep 1; done`)
	spec.Keyboard = true
	seen := &watcher{text: "waiting", found: make(chan struct{})}
	m, err := Start(testContext(t), Config{Spec: spec, Choice: choice, Dir: socketDir(t), Console: seen})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill()
	select {
	case <-seen.found:
	case <-m.Done():
		t.Fatalf("the machine ended: %v", m.Exit())
	case <-time.After(time.Minute):
		t.Fatal("init did not come up")
	}
	if err := m.CtrlAltDel(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Wait(testContext(t)); err != nil || !slices.Contains(m.ConsoleTail(0), "the keys came") {
		t.Errorf("%v; the console:\n%s", err, strings.Join(m.ConsoleTail(0), "\n"))
	}
}

// watcher is a console writer that waits for a text.
type watcher struct {
	text  string
	got   strings.Builder
	found chan struct{}
}

func (w *watcher) Write(p []byte) (int, error) {
	before := strings.Contains(w.got.String(), w.text)
	w.got.Write(p)
	if !before && strings.Contains(w.got.String(), w.text) {
		close(w.found)
	}
	return len(p), nil
}
