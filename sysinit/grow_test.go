//go:build linux

package sysinit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withMaker makes an image with a mkfs.ext4 and its libraries.
func withMaker() ([]byte, error) {
	return squash(func(root string) error {
		program, err := exec.LookPath("mkfs.ext4")
		if err != nil {
			return err
		}
		files := map[string]string{program: "/sbin/mkfs.ext4"}
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			return err
		}
		for word := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(word, "/") {
				files[word] = word
			}
		}
		for from, to := range files {
			content, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			to = filepath.Join(root, to)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, content, 0o755); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestVolumeFormat makes an ext4 on a device of zeros, once, and on no other.
func TestVolumeFormat(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(withMaker)
		o.device("ZEROS", o.file("zeros", make([]byte, 16<<20)), 0)
		content := make([]byte, 16<<20)
		content[1<<20-1] = 1
		o.device("ALMOST", o.file("almost", content), 0)
		o.device("TINY", o.file("tiny", make([]byte, 512<<10)), 0)
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			wantClean(o.t, filepath.Join(o.dir, "zeros"))
			if got := read(o.t, filepath.Join(o.dir, "almost")); got != string(content) {
				o.t.Error("a device that was not empty was written to")
			}
		})
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	for turn, want := range []string{"", "kept"} {
		c.Volumes = volumesOf(t, os.Getenv("ZEROS")+":/mnt:ext4:format=empty")
		mustAttach(t, root, c)
		if turn > 0 {
			if got := read(t, "/mnt/file"); got != want {
				t.Errorf("the second time the volume's file holds %q, want %q", got, want)
			}
		}
		write(t, "/mnt/file", "kept")
		if err := unix.Unmount("/mnt", 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ALMOST", "TINY"} {
		device := os.Getenv(name)
		c.Volumes = volumesOf(t, device+":/mnt:ext4:format=empty")
		if said, _ := attach(t, root, c); !strings.HasPrefix(said[0], "volume /mnt: mount "+device+" on /mnt: invalid argument: the device ") {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// needResource skips the test without the right to grow a mounted file system. Booted guests have
// it, where another test grows disks.
func needResource(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		t.Fatal(err)
	}
	if have[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		t.Skip("root lacks CAP_SYS_RESOURCE here: run the test outside of the container")
	}
}

// TestGrow has disks that were made larger. Their file systems grow, and are clean.
func TestGrow(t *testing.T) {
	needResource(t)
	inside := enter(t, func(o *outside) {
		o.base(rich)
		disks := []string{o.ext4("disk", 16), o.ext4("data", 16)}
		for i, name := range []string{"DISK", "DATA"} {
			if err := os.Truncate(disks[i], 1<<30); err != nil {
				o.t.Fatal(err)
			}
			o.device(name, disks[i], 0)
		}
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			for _, disk := range disks {
				wantClean(o.t, disk)
			}
		})
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	c.Grow, c.Volumes = true, volumesOf(t, os.Getenv("DATA")+":/mnt:ext4:grow")
	before := space(t, "/")
	mustAttach(t, root, c)
	for _, path := range []string{"/", "/mnt"} {
		if got := space(t, path); got < 900<<20 {
			t.Errorf("%s has %d bytes, had %d, want a gigabyte", path, got, before)
		}
	}
	write(t, "/data/new", strings.Repeat("x", 64<<20))
	write(t, "/mnt/new", strings.Repeat("x", 64<<20))
	grown := space(t, "/")
	if err := growRoot(&machine{cfg: c, root: root}); err != nil || space(t, "/") != grown {
		t.Errorf("a second time: %v, %d bytes, had %d", err, space(t, "/"), grown)
	}
	if err := root.Settle(SettleLimit, nil); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

// space returns the size of a file system in bytes.
func space(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * uint64(st.Bsize)
}

// TestGrowWritableRoot grows the disk that is the root itself.
func TestGrowWritableRoot(t *testing.T) {
	needResource(t)
	var disk string
	inside := enter(t, func(o *outside) {
		disk = o.ext4("root", 16)
		if err := os.Truncate(disk, 256<<20); err != nil {
			o.t.Fatal(err)
		}
		o.device("BASE", disk, 0)
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			wantClean(o.t, disk)
		})
	})
	if !inside {
		return
	}
	c := config()
	c.WritableRoot, c.Grow = true, true
	root := mustUp(t, c)
	mustAttach(t, root, c)
	if got := space(t, "/"); got < 200<<20 {
		t.Errorf("the root has %d bytes, want 256 MiB", got)
	}
	if err := root.Settle(SettleLimit, nil); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

// TestGrowFails has file systems that have met an error, which the kernel does not grow. The
// machine goes on.
func TestGrowFails(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		disk := o.ext4("disk", 16)
		if err := os.Truncate(disk, 32<<20); err != nil {
			o.t.Fatal(err)
		}
		tool(o.t, "debugfs", "-w", "-R", "set_super_value state 2", disk)
		o.device("DISK", disk, 0)
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	c.Grow = true
	said, err := attach(t, root, c)
	want := "grow overlay disk: grow " + c.Overlay + ": operation not permitted: its file system has met an error (see the kernel's log); run e2fsck"
	if err != nil || len(said) != 1 || said[0] != want {
		t.Errorf("Mount says %q, %v, want %q", said, err, want)
	}
}

// TestSettleVolumes settles with volumes that are busy. One has a file open for reading, and one
// for writing; one is bound to another place. All are clean.
func TestSettleVolumes(t *testing.T) {
	names := []string{"read", "written", "bound"}
	inside := enter(t, func(o *outside) {
		o.base(rich)
		checkAfter(o, o.disk(16))
		for _, name := range names {
			path := o.ext4(name, 8)
			o.device(strings.ToUpper(name), path, 0)
			o.tell("IMAGE_"+name, path)
			o.tell("CUT_"+name, path+".cut")
			o.after = append(o.after, func(string, error) { wantClean(o.t, path+".cut") })
		}
	})
	if !inside {
		return
	}
	snapshots := []*snapshot{newSnapshot(t, os.Getenv("IMAGE"), os.Getenv("CUT"))}
	for _, name := range names {
		snapshots = append(snapshots, newSnapshot(t, os.Getenv("IMAGE_"+name), os.Getenv("CUT_"+name)))
	}
	c := config()
	root := mustUp(t, c)
	c.Volumes = volumesOf(t, os.Getenv("READ")+":/mnt/read:ext4", os.Getenv("WRITTEN")+":/mnt/written:ext4", os.Getenv("BOUND")+":/mnt/a b:ext4")
	mustAttach(t, root, c)
	for _, path := range []string{"/mnt/read/file", "/mnt/written/file", "/mnt/a b/file"} {
		write(t, path, "x")
	}
	if err := unix.Mount("/mnt/a b", "/srv", "", unix.MS_BIND, ""); err != nil {
		if err := os.Mkdir("/srv", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/mnt/a b", "/srv", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := os.Open("/mnt/read/file")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := os.OpenFile("/mnt/written/file", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.WriteString("never closed"); err != nil {
		t.Error(err)
	}
	defer func() {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, writer.Fd(), 0xc0045878, 0); e != 0 { // FITHAW
			t.Error(e)
		}
	}()
	for range 2 {
		if said, err := stagesOf(root, SettleLimit); err != nil || said != "unmount\nflush\nread-only\nsync\n" {
			t.Errorf("Settle: %v, %q", err, said)
		}
	}
	for _, s := range snapshots {
		s.take(t)
	}
	if err := os.WriteFile("/mnt/read/late", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a volume with an open file can still be written: %v", err)
	}
}

// TestSettleVolumeWithErrors has a volume that has met an error, which is named.
func TestSettleVolumeWithErrors(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.device("DATA", o.ext4("data", 16), 0) }) {
		return
	}
	c := config()
	root := mustUp(t, c)
	c.Volumes = volumesOf(t, os.Getenv("DATA")+":/mnt:ext4")
	mustAttach(t, root, c)
	write(t, "/sys/fs/ext4/"+filepath.Base(os.Getenv("DATA"))+"/trigger_fs_error", "for a test")
	said, err := stagesOf(root, SettleLimit)
	want := "unmount (unmount: unmount /mnt: structure needs cleaning: its file system has met an error (see the kernel's log); run e2fsck)\nsync\n"
	if !errors.Is(err, unix.EUCLEAN) || said != want {
		t.Errorf("Settle: %v, %q, want %q", err, said, want)
	}
}
