//go:build linux

package sysinit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failure is a machine that cannot come up, and its error.
type failure struct {
	prepare func(o *outside)
	change  func(c *Config, k *kinds)
	want    string
	errno   syscall.Errno
}

func (f failure) test(t *testing.T) {
	t.Helper()
	if !enter(t, f.prepare) {
		return
	}
	c, k := config(), kinds{"squashfs", "ext4", "overlay", "devtmpfs"}
	if f.change != nil {
		f.change(&c, &k)
	}
	err := mustNotUp(t, c, &k)
	want := strings.NewReplacer("$BASE", c.Base, "$DISK", c.Overlay, "$SIZE", os.Getenv("SIZE"), "$NEED", os.Getenv("NEED")).Replace(f.want)
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if !errors.Is(err, f.errno) {
		t.Errorf("%v is not %v", err, f.errno)
	}
}

func both(o *outside) { o.base(rich); o.disk(4) }

func TestDiskMissing(t *testing.T) {
	failure{
		prepare: both,
		change:  func(c *Config, _ *kinds) { c.Overlay, c.Wait = "/dev/vdz", 30*time.Millisecond },
		want:    "overlay disk: find /dev/vdz: no such file or directory: the device did not appear within 0.03 s",
		errno:   unix.ENOENT,
	}.test(t)
}

func TestBaseMissing(t *testing.T) {
	failure{
		prepare: both,
		change:  func(c *Config, _ *kinds) { c.Base = "/nowhere/vda" },
		want:    "base: find /nowhere/vda: no such file or directory: the device did not appear within 0 s",
		errno:   unix.ENOENT,
	}.test(t)
}

// TestDiskWithoutDriver has a node without a driver behind it.
func TestDiskWithoutDriver(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			both(o)
			path := filepath.Join(o.dir, "node")
			if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(240, 99))); err != nil {
				o.t.Fatal(err)
			}
			o.tell("DISK", path)
		},
		change: func(c *Config, _ *kinds) { c.Wait = 10 * time.Millisecond },
		want:   "overlay disk: find $DISK: no such device or address: the device did not appear within 0.01 s",
		errno:  unix.ENXIO,
	}.test(t)
}

func TestDiskIsFile(t *testing.T) {
	failure{
		prepare: func(o *outside) { both(o); o.tell("DISK", o.file("file", nil)) },
		change:  func(c *Config, _ *kinds) { c.Wait = time.Hour }, // not waited for
		want:    "overlay disk: find $DISK: block device required",
		errno:   unix.ENOTBLK,
	}.test(t)
}

func TestDiskEmpty(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.base(rich)
			o.device("DISK", o.file("zero", make([]byte, 4<<20)), 0)
		},
		want:  "overlay disk: mount $DISK on rw: invalid argument: the device is empty (not formatted)",
		errno: unix.EINVAL,
	}.test(t)
}

func TestDiskOfOtherKind(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.base(rich)
			image, _ := rich()
			o.device("DISK", o.file("squashfs", image), 0)
		},
		want:  "overlay disk: mount $DISK on rw: invalid argument: the device holds squashfs, not ext4",
		errno: unix.EINVAL,
	}.test(t)
}

func TestDiskOfNoKind(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.base(rich)
			o.device("DISK", o.file("text", []byte(strings.Repeat("never formatted by anybody\n", 9999))), 0)
		},
		want:  "overlay disk: mount $DISK on rw: invalid argument: the device holds no known file system, not ext4",
		errno: unix.EINVAL,
	}.test(t)
}

func TestDiskCutShort(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.base(rich)
			path := o.ext4("short", 8)
			if err := os.Truncate(path, 4<<20); err != nil {
				o.t.Fatal(err)
			}
			o.device("DISK", path, 0)
		},
		want: "overlay disk: mount $DISK on rw: invalid argument: the device is cut short: 4194304 of the " +
			"8388608 bytes of its ext4",
		errno: unix.EINVAL,
	}.test(t)
}

func TestDiskReadOnly(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.base(rich)
			o.device("DISK", o.ext4("disk", 4), unix.LO_FLAGS_READ_ONLY)
		},
		want:  "overlay disk: mount $DISK on rw: permission denied: the device is read-only",
		errno: unix.EACCES,
	}.test(t)
}

// TestDiskFull leaves no room for the two directories.
func TestDiskFull(t *testing.T) {
	failure{
		prepare: func(o *outside) { o.base(rich); o.disk(4, "-m", "0"); fill(o, "") },
		want:    "overlay disk: mkdir rw/upper: no space left on device",
		errno:   unix.ENOSPC,
	}.test(t)
}

// TestDiskFullLater leaves not a block after the directories are made.
func TestDiskFullLater(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.disk(4, "-m", "0")
		fill(o, "upper")
	})
	if !inside {
		return
	}
	// Every mount makes work/work. Where that is impossible, overlayfs comes up read-only and Up
	// fails.
	err := mustNotUp(t, config(), nil)
	if want := "overlay: mount overlay: read-only file system: it came up read-only: " + os.Getenv("DISK") + " is full"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

// fill fills the disk to the last block, in a mount that is gone afterwards.
func fill(o *outside, upper string) {
	o.t.Helper()
	disk := filepath.Join(o.dir, "disk")
	at := filepath.Join(o.dir, "at")
	if err := os.Mkdir(at, 0o700); err != nil {
		o.t.Fatal(err)
	}
	dev := loop(o.t, disk, 0)
	script := "set -e; mount -t ext4 " + dev + " " + at + "; cd " + at + "; "
	if upper != "" {
		script += "mkdir upper work; "
	}
	script += "dd if=/dev/zero of=full bs=64k 2>/dev/null || :; dd if=/dev/zero of=full2 bs=1k 2>/dev/null || :; cd /; umount " + at
	tool(o.t, "unshare", "--mount", "sh", "-c", script)
}

func TestBaseOfOtherKind(t *testing.T) {
	failure{
		prepare: func(o *outside) { o.disk(4); o.device("BASE", o.ext4("ext4", 4), 0) },
		want:    "base: mount $BASE on rom: invalid argument: the device holds ext4, not squashfs; --root=rw makes an ext4 the root",
		errno:   unix.EINVAL,
	}.test(t)
}

func TestBaseCutShort(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.disk(4)
			image, err := rich()
			if err != nil {
				o.t.Fatal(err)
			}
			o.device("BASE", o.file("short", image[:len(image)/2/4096*4096]), 0)
			o.tell("SIZE", itoa(len(image)/2/4096*4096))
			o.tell("NEED", itoa(int(little(image[40:48]))))
		},
		want:  "base: mount $BASE on rom: invalid argument: the device is cut short: $SIZE of the $NEED bytes of its squashfs",
		errno: unix.EINVAL,
	}.test(t)
}

// damaged returns the hint about a device with a good magic number that cannot be mounted.
func damaged(kind string) string {
	return "the device holds a damaged " + kind + ", or one that needs a feature this kernel lacks (see its log)"
}

// spoiledBase gives the machine a damaged base image.
func (o *outside) spoiledBase(spoil func(image []byte)) {
	image, err := rich()
	if err != nil {
		o.t.Fatal(err)
	}
	image = slices.Clone(image)
	spoil(image)
	o.device("BASE", o.file("spoiled", image), 0)
}

// TestBaseOfOtherKernel has an image whose compressor this kernel lacks.
func TestBaseOfOtherKernel(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.disk(4)
			o.spoiledBase(func(image []byte) { image[20] = 99 }) // the compressor
		},
		want:  "base: mount $BASE on rom: invalid argument: " + damaged("squashfs"),
		errno: unix.EINVAL,
	}.test(t)
}

func TestBaseDamaged(t *testing.T) {
	failure{
		prepare: func(o *outside) {
			o.disk(4)
			// Overwrite the tables that the superblock points to, from the inodes on.
			o.spoiledBase(func(image []byte) {
				for i := little(image[64:72]); i < little(image[40:48]); i++ {
					image[i] ^= 0x5a
				}
			})
		},
		want:  "base: mount $BASE on rom: invalid argument: " + damaged("squashfs"),
		errno: unix.EINVAL,
	}.test(t)
}

func TestKernelLacksSquashfs(t *testing.T) {
	failure{
		prepare: both,
		change:  func(_ *Config, k *kinds) { k.base = "nosquashfs" },
		want:    "base: mount $BASE on rom: no such device: unknown file system: the kernel lacks nosquashfs",
		errno:   unix.ENODEV,
	}.test(t)
}

func TestKernelLacksExt4(t *testing.T) {
	failure{
		prepare: both,
		change:  func(_ *Config, k *kinds) { k.disk = "noext4" },
		want:    "overlay disk: mount $DISK on rw: no such device: unknown file system: the kernel lacks noext4",
		errno:   unix.ENODEV,
	}.test(t)
}

func TestKernelLacksOverlay(t *testing.T) {
	failure{
		prepare: both,
		change:  func(_ *Config, k *kinds) { k.overlay = "nooverlay" },
		want:    "overlay: mount overlay: no such device: unknown file system: the kernel lacks nooverlay",
		errno:   unix.ENODEV,
	}.test(t)
}

// TestNotProcess1 checks that Up leaves the machine of the person who runs it as it is.
func TestNotProcess1(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is process 1: run the tests under a shell")
	}
	root, err := Up(Default(), nil)
	if !errors.Is(err, unix.EPERM) || err.Error() != "come up: operation not permitted: not process 1" || root == nil {
		t.Errorf("%v, %v", root, err)
	}
	if err := Reboot(Restart); !errors.Is(err, unix.EPERM) || err.Error() != "reboot RESTART: operation not permitted: not process 1" {
		t.Error(err)
	}
}

// TestDiskLate has a disk that appears while Up waits for it.
func TestDiskLate(t *testing.T) {
	if !enter(t, func(o *outside) { both(o); o.tell("LATE", filepath.Join(o.dir, "late")) }) {
		return
	}
	disk := os.Getenv("DISK")
	var st unix.Stat_t
	if err := unix.Stat(disk, &st); err != nil {
		t.Fatal(err)
	}
	c := config()
	c.Overlay, c.Wait = os.Getenv("LATE"), 20*time.Second
	const late = 150 * time.Millisecond
	done := make(chan error)
	go func() {
		time.Sleep(late)
		done <- unix.Mknod(c.Overlay, unix.S_IFBLK|0o600, int(st.Rdev))
	}()
	root := mustUp(t, c)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, m := range root.Timeline() {
		if m.Step == "overlay disk" && m.Took > 10*time.Second {
			t.Errorf("it took %v", m.Took)
		}
	}
}

// TestDirtyJournal has a machine that was cut off. Its writes must be there after the replay.
func TestDirtyJournal(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		cut := filepath.Join(o.dir, "cut")
		disk := o.disk(16)
		o.tell("IMAGE", disk)
		o.tell("CUT", cut)
		o.run()
		if features := tool(o.t, "dumpe2fs", "-h", cut); !strings.Contains(features, "needs_recovery") {
			o.t.Fatalf("the journal is not dirty:\n%s", features)
		}
		o.device("DISK", cut, 0)
		o.tell("CUT", "")
	})
	if !inside {
		return
	}
	cut := os.Getenv("CUT")
	var s *snapshot
	if cut != "" {
		s = newSnapshot(t, os.Getenv("IMAGE"), cut)
	}
	mustUp(t, config())
	if cut == "" {
		if got := read(t, "/data/written"); got != "before the cut" {
			t.Errorf("%q", got)
		}
		return
	}
	f, err := os.Create("/data/written")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before the cut"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	s.take(t)
}

// TestLeftBehind checks that leftBehind ignores a mount that another process removed, and finds one
// that was left.
func TestLeftBehind(t *testing.T) {
	if !enter(t, func(*outside) {}) {
		return
	}
	for _, dir := range []string{"/mnt", "/run"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
	}
	before := mountIDs(t)
	if err := unix.Unmount("/mnt", 0); err != nil {
		t.Fatal(err)
	}
	if left := leftBehind(before, mountIDs(t)); len(left) > 0 {
		t.Errorf("left behind %q, and a mount has gone", left)
	}
	if err := unix.Mount("proc", "/mnt", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	if left := leftBehind(before, mountIDs(t)); len(left) != 1 || left[0] != "proc on /mnt" {
		t.Errorf("left behind %q, want proc on /mnt", left)
	}
}
