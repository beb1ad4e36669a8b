package guesttest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/machinetest"
	"wick/framing/client"
	"wick/framing/wiretest"
)

// TestBootFails boots machines that cannot come up. Each must report the failed step and its object
// to the host, in one error frame, and on the console. Then it must shut down by itself.
func TestBootFails(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	const mib = 1 << 20
	for _, tt := range []struct {
		name string
		make func(*testing.T, *config)
		want string
	}{
		{"no overlay disk", func(_ *testing.T, c *config) {
			c.overlay, c.InitArgs = "", []string{"--wait=0"}
		}, "vm-init: overlay disk: find /dev/vdb: no such file or directory: the device did not appear within 0 s"},
		{"empty overlay disk", func(t *testing.T, c *config) {
			c.overlay = file(t, make([]byte, mib))
		}, "vm-init: overlay disk: mount /dev/vdb on rw: invalid argument: the device is empty (not formatted)"},
		{"another file system on the overlay disk", func(_ *testing.T, c *config) {
			c.overlay = copied(t, l.Root.Path)
		}, "vm-init: overlay disk: mount /dev/vdb on rw: invalid argument: the device holds squashfs, not ext4"},
		{"no file system on the overlay disk", func(t *testing.T, c *config) {
			c.overlay = file(t, bytes.Repeat([]byte("no file system "), mib/8))
		}, "vm-init: overlay disk: mount /dev/vdb on rw: invalid argument: the device holds no known file system, not ext4"},
		{"full overlay disk", func(t *testing.T, c *config) {
			c.overlay = fullOverlay(t)
		}, "vm-init: overlay disk: mkdir rw/upper: no space left on device"},
		{"no base", func(_ *testing.T, c *config) {
			l.stays(c)
			c.InitArgs = []string{"--base=/dev/vdx", "--wait=0"}
		}, "vm-init: base: find /dev/vdx: no such file or directory: the device did not appear within 0 s"},
		{"another file system on the base", func(t *testing.T, c *config) {
			l.stays(c)
			c.Drives[0].Path = newOverlay(t, 8)
		}, "vm-init: base: mount /dev/vda on rom: invalid argument: the device holds ext4, not squashfs; --root=rw makes an ext4 the root"},
		{"bad option", func(_ *testing.T, c *config) {
			c.InitArgs = []string{"--wait=soon"}
		}, "vm-init: --wait soon: not a number of seconds from 0 to 3600"},
		{"no memory to be had beyond what there is", func(_ *testing.T, c *config) {
			c.MemoryMiB, c.Cmdline = 96, []string{"sysctl.vm.overcommit_memory=2", "sysctl.vm.overcommit_ratio=80"}
		}, "vm-init: agent: mmap buffers: cannot allocate memory"},
		{"unknown option", func(_ *testing.T, c *config) {
			c.InitArgs = []string{"--no-such-option"}
		}, "vm-init: --no-such-option: unknown option"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := usual(t, l)
			tt.make(t, c)
			fails(t, l, c, tt.want)
		})
	}
}

// fails boots a machine that must not come up, for the given reason.
func fails(t *testing.T, l *fixture, c *config, want string) {
	t.Helper()
	var host *net.UnixListener
	c.before = func(uds string) { host = listenAt(t, uds, "1000") }
	v := start(t, l, c)
	r := acceptRaw(t, host)
	r.want(wiretest.Error, 0, text(want))
	r.wantEnd()
	told := time.Now()
	v.gone()
	t.Logf("went down %v after it had told its host", time.Since(told).Round(time.Millisecond))
	if v.console.count("error "+want) == 0 {
		t.Error("the console does not say so")
	}
	if all, _ := v.console.look(); strings.Contains(all, "panic") {
		t.Error("the console tells of a panic")
	}
}

// TestBootFailsForDialer checks that a host that connects to the guest gets the reason too.
func TestBootFailsForDialer(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.InitArgs = []string{"--overlay=vdb"}
	v := start(t, l, c)
	conn, err := client.Dial(deadline(t, bootLimit), "firecracker:"+v.UDS())
	if err == nil {
		conn.Close()
	}
	want := "vm-init: --overlay vdb: not the absolute path of a device, nor tmpfs"
	if said, ok := errors.AsType[*client.BootError](err); !ok || said.Message != want {
		t.Errorf("error %v, want that of a machine that could not boot: %s", err, want)
	}
	v.gone()
}

// fullOverlay makes an overlay image without a free block, not even for a directory.
func fullOverlay(t *testing.T) string {
	t.Helper()
	path := newOverlay(t, 8)
	// debugfs leaves out what does not fit, and says so.
	e2fs(t, "debugfs", "-w", "-R", "write "+file(t, bytes.Repeat([]byte{'x'}, 8<<20))+" full", path)
	// e2fsck makes the file system consistent again, and leaves it full.
	e2fs(t, "e2fsck", "-f", "-y", path)
	if out, err := e2fs(t, "dumpe2fs", "-h", path); err != nil || figure(t, strings.ReplaceAll(out, "Free blocks:", "free:"), "free") != 0 {
		t.Fatalf("the file system could not be filled: %v\n%s", err, out)
	}
	return path
}

// copied returns a copy of a file, for a writable drive.
func copied(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, content)
}

// TestNoDevices boots vm-init as the first program, without any driver: no disk, and no vsock to
// reach the host. The console must have the reason, and the machine must shut down.
func TestNoDevices(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.Initramfs, c.Init = l.bare, initPath
	if l.Kernel.Modules == "" { // the drivers are in the kernel
		c.Drives, c.overlay, c.NoVsock = nil, "", true
	}
	c.InitArgs = []string{"--wait=0"}
	v := start(t, l, c)
	v.gone()
	v.console.await(t, "error vm-init: base: find /dev/vda: no such file or directory: the device did not appear within 0 s", 1)
}

// TestContainer starts vm-init as process 1 of a container. It must exit, because no kernel ends
// the container for it.
func TestContainer(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"unshare", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil || os.Getuid() != 0 {
			machinetest.Lacking(t, "a container takes root, "+tool+" and setpriv (apt-get install util-linux)")
		}
	}
	program, err := machinetest.Program(deadline(t, bootLimit), runtime.GOARCH, "wick/cmd/vm-init")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vm-init")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t, stepLimit), "unshare", "--pid", "--mount", "--fork", "--kill-child",
		"setpriv", "--bounding-set=-sys_boot", path, "--overlay=none", "--vsock-dial=off", "--vsock-listen=off")
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 1 || !strings.Contains(string(out), "error vm-init: --overlay none: ") ||
		!strings.Contains(string(out), "error machine does not go down error=\"reboot RESTART: operation not permitted\"\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
