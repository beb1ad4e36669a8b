//go:build linux

package sysinit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkAfter copies the disk when the inside calls take, and runs e2fsck on the copy. Clean means
// that there is nothing to replay or to repair, although the overlay was still mounted on it.
func checkAfter(o *outside, disk string) {
	cut := filepath.Join(o.dir, "cut")
	o.tell("IMAGE", disk)
	o.tell("CUT", cut)
	o.after = append(o.after, func(out string, err error) {
		if err != nil {
			o.t.Fatalf("inside: %v\n%s", err, out)
		}
		wantClean(o.t, cut)
	})
}

// wantClean checks that there is nothing to replay on an ext4, and nothing to repair.
func wantClean(t *testing.T, image string) {
	t.Helper()
	if features := tool(t, "dumpe2fs", "-h", image); strings.Contains(features, "needs_recovery") ||
		!strings.Contains(features, "Filesystem state:         clean") {
		t.Errorf("not clean:\n%s", features)
	}
	check, err := exec.Command("e2fsck", "-fn", image).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v\n%s", err, check)
	}
}

// stagesOf settles and returns what was reported.
func stagesOf(root *Root, limit time.Duration) (string, error) {
	said := ""
	err := root.Settle(limit, func(s Step, _ time.Duration, err error) {
		said += s.Name
		if err != nil {
			said += " (" + err.Error() + ")"
		}
		said += "\n"
	})
	return said, err
}

func TestSettle(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); checkAfter(o, o.disk(16)) }) {
		return
	}
	s := newSnapshot(t, os.Getenv("IMAGE"), os.Getenv("CUT"))
	root := mustUp(t, config())
	write(t, "/data/new", strings.Repeat("x", 1<<20))
	if err := os.Remove("/data/deleted"); err != nil {
		t.Error(err)
	}
	said, err := stagesOf(root, SettleLimit)
	if want := "flush\nread-only\nsync\n"; err != nil || said != want {
		t.Errorf("%v, %q, want %q", err, said, want)
	}
	s.take(t)
	for _, path := range []string{"/data/new", "/data/kept", "/data/other"} {
		if err := os.WriteFile(path, []byte("late"), 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s can still be written: %v", path, err)
		}
	}
	if got := read(t, "/data/kept"); got != "base\n" {
		t.Errorf("%q", got)
	}
	if again, err := stagesOf(root, SettleLimit); err != nil || again != said {
		t.Errorf("a second time: %v, %q", err, again)
	}
}

// settledBusy is the report when files are open.
const settledBusy = "flush\nread-only (read-only: remount the overlay disk: device or resource busy)\nsync\nfreeze\n"

// TestSettleWithOpenFiles checks that read-only is refused while a file is open for writing, or is
// open and deleted.
func TestSettleWithOpenFiles(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); checkAfter(o, o.disk(16)) }) {
		return
	}
	s := newSnapshot(t, os.Getenv("IMAGE"), os.Getenv("CUT"))
	root := mustUp(t, config())
	f, err := os.Create("/data/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("never closed\n"); err != nil {
		t.Error(err)
	}
	// A frozen file system outlives its last mount, and its loop device with it.
	defer func() {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(root.upper), 0xc0045878, 0); e != 0 { // FITHAW
			t.Error(e)
		}
	}()
	said, err := stagesOf(root, SettleLimit)
	if want := settledBusy; err != nil || said != want {
		t.Errorf("%v, %q, want %q", err, said, want)
	}
	s.take(t)
	if again, err := stagesOf(root, SettleLimit); err != nil || again != said {
		t.Errorf("a second time: %v, %q", err, again)
	}
}

// TestSettleWithNested mounts a file system in a file of the overlay, like that of a container. It
// is unmounted before the disk under it is frozen, because its device is still open.
func TestSettleWithNested(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.tell("INNER", o.ext4("inner", 4))
		checkAfter(o, o.disk(32))
		cut, inner := filepath.Join(o.dir, "cut"), filepath.Join(o.dir, "inner")
		o.after = append(o.after, func(string, error) {
			tool(o.t, "debugfs", "-R", "dump /upper/data/inner "+inner, cut)
			wantClean(o.t, inner)
			if got := tool(o.t, "debugfs", "-R", "cat /new", inner); !strings.HasSuffix(got, "unwritten") {
				o.t.Errorf("in the nested file system there is %q", got)
			}
		})
	})
	if !inside {
		return
	}
	image := read(t, os.Getenv("INNER"))
	s := newSnapshot(t, os.Getenv("IMAGE"), os.Getenv("CUT"))
	root := mustUp(t, config())
	write(t, "/data/inner", image)
	dev := loop(t, "/data/inner", 0)
	if err := unix.Mount(dev, "/data/sub", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	write(t, "/data/sub/new", "unwritten")
	defer func() {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(root.upper), 0xc0045878, 0); e != 0 { // FITHAW, as above
			t.Error(e)
		}
	}()
	if said, err := stagesOf(root, SettleLimit); err != nil || said != "unmount\n"+settledBusy {
		t.Errorf("%v, %q, want %q", err, said, "unmount\n"+settledBusy)
	}
	s.take(t)
}

// TestSettleWithErrors has a file system that has met an error. It accepts everything that a sound
// one accepts, and is still not clean.
func TestSettleWithErrors(t *testing.T) { testSettleWithErrors(t, "continue") }

// TestSettleReadOnlyByErrors has one that turned read-only on the error.
func TestSettleReadOnlyByErrors(t *testing.T) { testSettleWithErrors(t, "remount-ro") }

func testSettleWithErrors(t *testing.T, behaviour string) {
	t.Helper()
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16, "-e", behaviour) }) {
		return
	}
	root := mustUp(t, config())
	write(t, "/data/new", "x")
	write(t, "/sys/fs/ext4/"+filepath.Base(os.Getenv("DISK"))+"/trigger_fs_error", "for a test")
	said, err := stagesOf(root, SettleLimit)
	// Later kernels return EROFS from each call on one that has turned read-only.
	if !errors.Is(err, unix.EUCLEAN) && (behaviour == "continue" || !errors.Is(err, unix.EROFS)) {
		t.Errorf("%v, %q", err, said)
	}
}

// TestSettleOnDeadDisk has a disk that swallows every request: a file on a frozen file system.
func TestSettleOnDeadDisk(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		path := o.ext4("carrier", 64)
		o.device("CARRIER", path, 0)
	})
	if !inside {
		return
	}
	if err := unix.Mount(os.Getenv("CARRIER"), "/mnt", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	image := "/mnt/disk"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", image)
	carrier, err := os.Open("/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer carrier.Close()
	c := config()
	c.Overlay = loop(t, image, 0)
	root := mustUp(t, c)
	write(t, "/data/new", "x")
	freeze := func(request uintptr) {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, carrier.Fd(), request, 0); e != 0 {
			t.Fatal(e)
		}
	}
	freeze(fiFreeze)
	const limit = 300 * time.Millisecond
	begin := time.Now()
	said, err := stagesOf(root, limit)
	took := time.Since(begin)
	freeze(0xc0045878) // FITHAW
	if want := "flush (flush: flush the overlay disk: connection timed out: the disk does not answer)\n"; said != want {
		t.Errorf("%q, want %q", said, want)
	}
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Error(err)
	}
	if took < limit || took > limit+5*time.Second {
		t.Errorf("it took %v", took)
	}
	// The orphaned child is killed, and ends as soon as the disk answers.
	var status unix.WaitStatus
	if _, err := unix.Wait4(-1, &status, 0, nil); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("%v, %v", err, status)
	}
	if _, err := stagesOf(root, SettleLimit); err != nil {
		t.Errorf("once it answers: %v", err)
	}
}

// TestSettleBesideDeadDisk has another disk that swallows every request, and open files on ours.
// Half of the time is left for the freeze, so ours is clean.
func TestSettleBesideDeadDisk(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.device("CARRIER", o.ext4("carrier", 64), 0)
		checkAfter(o, o.disk(16))
	})
	if !inside {
		return
	}
	if err := unix.Mount(os.Getenv("CARRIER"), "/mnt", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	const image = "/mnt/disk"
	write(t, image, "")
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", image)
	carrier, err := os.Open("/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer carrier.Close()
	dev := loop(t, image, 0)
	s := newSnapshot(t, os.Getenv("IMAGE"), os.Getenv("CUT"))
	root := mustUp(t, config())
	if err := unix.Mount(dev, "/data/sub", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create("/data/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	write(t, "/data/sub/new", "never written")
	control := func(fd uintptr, request uintptr) {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, 0); e != 0 {
			t.Error(e)
		}
	}
	control(carrier.Fd(), fiFreeze)
	const limit = 2 * time.Second
	begin := time.Now()
	said, err := stagesOf(root, limit)
	took := time.Since(begin)
	s.take(t)
	control(carrier.Fd(), 0xc0045878) // FITHAW
	control(uintptr(root.upper), 0xc0045878)
	if want := "unmount (unmount: unmount /data/sub: connection timed out: the disk does not answer)\n" + strings.Replace(settledBusy, "sync\n", "sync (sync: sync: connection timed out: the disk does not answer)\n", 1); said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Error(err)
	}
	if took > limit+5*time.Second {
		t.Errorf("it took %v", took)
	}
	// The orphaned children end once the disk answers.
	for range 2 {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil {
			t.Error(err)
		}
	}
	// The first may have died before it unmounted.
	if err := unix.Unmount("/data/sub", 0); err != nil && err != unix.EINVAL {
		t.Error(err)
	}
}

// TestDown ends a machine as far as a process namespace is one. The kernel kills its process 1 by
// SIGHUP for a restart and by SIGINT for a power-off (reboot(2)).
func TestDown(t *testing.T) { testDown(t, Restart, syscall.SIGHUP) }

// TestDownPowerOff switches a machine off. If the host's firmware, which a namespace shares, cannot
// switch off, the machine is reset.
func TestDownPowerOff(t *testing.T) {
	want := syscall.SIGINT
	if !canPowerOff() {
		want = syscall.SIGHUP
	}
	testDown(t, PowerOff, want)
}

func testDown(t *testing.T, power Power, signal syscall.Signal) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		disk := o.disk(16)
		o.after = append(o.after, func(out string, err error) {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				o.t.Fatalf("%v\n%s", err, out)
			}
			if got := exit.Sys().(syscall.WaitStatus); !got.Signaled() || got.Signal() != signal {
				o.t.Errorf("it ended with %v, want %v\n%s", got, signal, out)
			}
			if !strings.Contains(out, "\nflush\nread-only\nsync\n") {
				o.t.Errorf("it said\n%s", out)
			}
			tool(o.t, "e2fsck", "-fn", disk)
		})
	})
	if !inside {
		return
	}
	root := mustUp(t, config())
	write(t, "/data/new", "x")
	err := root.Down(Mode{Power: power}, func(s Step, _ time.Duration, err error) {
		os.Stdout.WriteString(s.Name + "\n")
		if err != nil {
			t.Error(err)
		}
	})
	t.Fatalf("it came back: %v", err)
}

// TestSettleNil shuts down a machine that never came up.
func TestSettleNil(t *testing.T) {
	said, err := stagesOf(nil, SettleLimit)
	if err != nil || said != "sync\n" {
		t.Errorf("%v, %q", err, said)
	}
}
