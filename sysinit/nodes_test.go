//go:build linux

package sysinit

import (
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// upWithoutDevtmpfs brings up a machine whose kernel has no devtmpfs.
func upWithoutDevtmpfs(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	root, err := up(config(), kinds{"squashfs", "ext4", "overlay", "nodevtmpfs"}, func(s Step, _ time.Duration, err error) {
		if err != nil && s.Name != "ctrl-alt-del" {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, root)
}

// TestNoDevtmpfs has a kernel without devtmpfs. The old root's /dev has the nodes of the disks,
// like an initramfs made by hand.
func TestNoDevtmpfs(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	upWithoutDevtmpfs(t)
	checkNodes(t)
}

// TestNoDevtmpfsNoNodes has an old root without nodes. The disks are found by their numbers in
// sysfs.
func TestNoDevtmpfsNoNodes(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	upWithoutDevtmpfs(t)
	checkNodes(t)
}

// TestNoDevtmpfsStaleNodes has an old root with nodes of another kernel, whose numbers have no
// device.
func TestNoDevtmpfsStaleNodes(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"BASE", "DISK"} {
		if err := unix.Mknod(os.Getenv(name), unix.S_IFBLK|0o600, int(unix.Mkdev(240, 99))); err != nil {
			t.Fatal(err)
		}
	}
	upWithoutDevtmpfs(t)
	checkNodes(t)
}

// checkNodes looks for the nodes that every program needs, and for those of all devices in sysfs.
func checkNodes(t *testing.T) {
	t.Helper()
	for _, n := range devNodes {
		var st unix.Stat_t
		if err := unix.Stat(n.path, &st); err != nil || st.Mode != unix.S_IFCHR|n.mode || st.Rdev != unix.Mkdev(n.major, n.minor) {
			t.Errorf("%s: %v, %#o %#x", n.path, err, st.Mode, st.Rdev)
		}
	}
	for _, name := range []string{os.Getenv("BASE"), os.Getenv("DISK")} {
		if st, err := os.Stat(name); err != nil || st.Mode()&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	found := 0
	for _, kind := range []string{"char", "block"} {
		entries, err := os.ReadDir("/sys/dev/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			event, err := os.ReadFile("/sys/dev/" + kind + "/" + e.Name() + "/uevent")
			if err != nil {
				continue // the device has gone since
			}
			_, after, ok := strings.Cut("\n"+string(event), "\nDEVNAME=")
			if !ok {
				continue
			}
			name, _, _ := strings.Cut(after, "\n")
			st, err := os.Stat("/dev/" + name)
			if err != nil {
				t.Error(err)
				continue
			}
			found++
			if char := st.Mode()&fs.ModeCharDevice != 0; char != (kind == "char") {
				t.Errorf("/dev/%s is %v, and a %s device", name, st.Mode(), kind)
			}
			if name == "loop-control" && deviceNumber(statNumber(t, "/dev/"+name)) != e.Name() {
				t.Errorf("/dev/%s has another number than %s", name, e.Name())
			}
		}
	}
	if found < len(devNodes) {
		t.Errorf("%d nodes", found)
	}
	if err := os.WriteFile("/dev/null", []byte("x"), 0); err != nil {
		t.Error(err)
	}
	// A terminal needs a node and an instance of devpts.
	if f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

func statNumber(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Error(err)
	}
	return st.Rdev
}

func TestEventNode(t *testing.T) {
	for text, want := range map[string]string{
		"MAJOR=10\nMINOR=200\nDEVNAME=net/tun\n":            "/dev/net/tun 0600",
		"MAJOR=5\nMINOR=0\nDEVNAME=tty\nDEVMODE=0666\n":     "/dev/tty 0666",
		"DEVMODE=0666\nDEVNAME=null":                        "/dev/null 0666",
		"MAJOR=1\n":                                         " 0600",
		"DEVNAME=a\nDEVMODE=9\n":                            "/dev/a 0600",
		"MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n\n": "/dev/vda 0600",
		"": " 0600",
	} {
		path, mode := eventNode([]byte(text))
		if got := path + " " + octal(mode); got != want {
			t.Errorf("eventNode(%q) = %s, want %s", text, got, want)
		}
	}
}
