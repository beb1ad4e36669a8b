//go:build linux

package sysinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInitramfs has a root in memory that pivot_root refuses. A namespace cannot have the kernel's
// own first root. A directory of a tmpfs as the root is refused for the same reason (EINVAL) and
// takes the same way.
func TestInitramfs(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	kept := t.TempDir() // on the machine's disk: must stay untouched
	write(t, filepath.Join(kept, "file"), "x")
	other, err := os.Open(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	root := "/mnt/initramfs"
	for _, d := range []string{"proc", "dev", "deep/er/and/deeper", "mounted", "bind"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root+"/init", strings.Repeat("x", 1000))
	write(t, root+"/deep/er/file", "x")
	write(t, root+"/file", "x")
	write(t, root+"/mounted/under", "x")
	for _, err := range []error{
		os.Symlink(kept, root+"/link"),
		unix.Mknod(root+"/deep/node", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		unix.Mount(kept, root+"/mounted", "", unix.MS_BIND, ""),
		unix.Mount(root+"/deep", root+"/bind", "", unix.MS_BIND, ""),
		unix.Mount(root+"/init", root+"/file", "", unix.MS_BIND, ""),
		unix.Mount("proc", root+"/proc", "proc", 0, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := unix.Chroot(root); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chdir("/"); err != nil {
		t.Fatal(err)
	}

	// The root's /dev is empty too, so the devices come from a devtmpfs of our own.
	mustUp(t, config())
	write(t, "/data/new", "x")
	if got := read(t, "/data/kept"); got != "base\n" {
		t.Errorf("%q", got)
	}
	left, err := old.Readdirnames(-1)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the old root: %q, %v", left, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(other.Fd()), "file", &st, 0); err != nil {
		t.Errorf("the other file system was touched: %v", err)
	}
	for _, gone := range []string{"squashfs", "/rom", "/rw"} {
		if strings.Contains(mounts(t), gone) {
			t.Errorf("%s is still mounted:\n%s", gone, mounts(t))
		}
	}
}

// TestChrootOnDisk has such a root with a disk behind it. Its files are not deleted.
func TestChrootOnDisk(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	root := t.TempDir()
	write(t, root+"/file", "x")
	old, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil || int64(st.Type) == unix.TMPFS_MAGIC {
		t.Skipf("the temporary directory is in memory, %v: set TMPDIR to one on a disk", err)
	}
	if err := unix.Chroot(root); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chdir("/"); err != nil {
		t.Fatal(err)
	}
	mustUp(t, config())
	if err := unix.Fstatat(int(old.Fd()), "file", &unix.Stat_t{}, 0); err != nil {
		t.Errorf("a file of the old root: %v", err)
	}
}
