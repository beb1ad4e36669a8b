//go:build linux

package sysinit

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUp checks everything that Up promises, on real devices.
func TestUp(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	c := config()
	c.Hostname = "wick-test"
	root := mustUp(t, c)

	want := `/ overlay rw,noatime
/dev devtmpfs rw,nosuid,relatime
/proc proc rw,nosuid,nodev,noexec,relatime
/sys sysfs rw,nosuid,nodev,noexec,relatime
/dev/pts devpts rw,nosuid,noexec,relatime
/dev/shm tmpfs rw,nosuid,nodev,relatime
/dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime
/run tmpfs rw,nosuid,nodev,relatime
/sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime
`
	if got := mounts(t); got != want {
		t.Errorf("mounts:\n%swant:\n%s", got, want)
	}
	for path, mode := range map[string]fs.FileMode{
		"/": fs.ModeDir | 0o755, "/dev/shm": fs.ModeDir | fs.ModeSticky | 0o777, "/run": fs.ModeDir | 0o755,
		"/tmp": fs.ModeDir | fs.ModeSticky | 0o777, "/dev/pts/ptmx": fs.ModeDevice | fs.ModeCharDevice | 0o666,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", path, st.Mode(), err, mode)
		}
	}
	for link, to := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stderr": "/proc/self/fd/2"} {
		if got, err := os.Readlink(link); err != nil || got != to {
			t.Errorf("%s leads to %q, %v", link, got, err)
		}
	}
	if cwd, err := os.Getwd(); err != nil || cwd != "/" {
		t.Errorf("working directory %q, %v", cwd, err)
	}
	if name, _ := os.Hostname(); name != "wick-test" {
		t.Errorf("hostname %q", name)
	}
	if flags := read(t, "/sys/class/net/lo/flags"); flags != "0x9\n" { // IFF_UP, IFF_LOOPBACK
		t.Errorf("lo has flags %q", flags)
	}
	if groups := read(t, "/proc/sys/net/ipv4/ping_group_range"); groups != "0\t2147483647\n" {
		t.Errorf("groups that may ping: %q", groups)
	}
	if old := unix.Umask(0o022); old != 0o022 {
		t.Errorf("umask %#o", old)
	}
	var marks []string
	for _, m := range root.Timeline() {
		marks = append(marks, m.Step)
		if m.Start <= 0 || m.Took < 0 {
			t.Errorf("%+v", m)
		}
	}
	if len(marks) != len(Plan(c)) {
		t.Errorf("timeline %q", marks)
	}

	// Run a command as the agent would.
	cmd := exec.Command("/bin/sh", "-c", "ulimit -n; ulimit -Hn; echo $PATH $HOME; : >/dev/null")
	cmd.Env = Environ([]string{"HOME=/", "TERM=linux"})
	out, err := cmd.CombinedOutput()
	var limit unix.Rlimit // not every user who runs this can raise the hard limit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < nofileSoft {
		t.Errorf("%+v, %v", limit, err)
	}
	if want := "10240\n" + itoa(int(limit.Max)) + "\n" + Path + " /root\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}

// TestHidden checks that only the pinned descriptor leads from the new root to the layers' mounts.
func TestHidden(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	root := mustUp(t, config())
	write(t, "/data/mark", "x")
	found := 0
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if path == "/proc" || path == "/sys" || path == "/dev" {
			return fs.SkipDir
		}
		if d.Name() == "mark" {
			found++
		}
		if d.Name() == "upper" || d.Name() == "rom" || d.Name() == "work" {
			t.Errorf("%s can be seen", path)
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("the mark was seen %d times, %v", found, err)
	}
	// Leave the root as programs leave a chroot.
	if err := unix.Mkdir("/cell", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chroot("/cell"); err != nil {
		t.Fatal(err)
	}
	for range 32 {
		if err := unix.Chdir(".."); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chroot("."); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"/rw", "/rom", "/upper", "/usr"} {
		if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s can be reached: %v", gone, err)
		}
	}
	if got := read(t, "/data/mark"); got != "x" {
		t.Errorf("the root after a breakout holds %q", got)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(root.upper, "upper/data/mark", &st, 0); err != nil {
		t.Errorf("the pinned descriptor does not lead to the upper: %v", err)
	}
}

// TestOverlay writes, deletes, changes and renames in a first machine, and checks a second one on
// the same disks.
func TestOverlay(t *testing.T) {
	var image []byte
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.disk(16)
		image, _ = rich()
		o.tell("TURN", "1")
		o.run()
		// The later entry wins.
		o.tell("TURN", "2")
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside, second time: %v\n%s", err, out)
			}
			if now := read(o.t, filepath.Join(o.dir, "base")); now != string(image) {
				o.t.Error("the base was written to")
			}
		})
	})
	if !inside {
		return
	}
	mustUp(t, config())
	if os.Getenv("TURN") == "1" {
		write(t, "/data/new", "upper\n")
		write(t, "/data/changed", "upper\n")
		for _, err := range []error{
			os.Remove("/data/deleted"),
			os.Rename("/data/sub", "/data/moved"), // a directory of the base: EXDEV without redirect_dir
			os.Chmod("/data/kept", 0o600),
			unix.Mknod("/data/node", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		unix.Sync()
	}
	for path, text := range map[string]string{
		"/data/new": "upper\n", "/data/changed": "upper\n", "/data/kept": "base\n", "/data/moved/file": "base\n",
	} {
		if got := read(t, path); got != text {
			t.Errorf("%s is %q, want %q", path, got, text)
		}
	}
	for _, gone := range []string{"/data/deleted", "/data/sub"} {
		if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", gone, err)
		}
	}
	if st, err := os.Stat("/data/kept"); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}

// TestNoAccessTimes checks that reading a file in the upper writes nothing.
func TestNoAccessTimes(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	mustUp(t, config())
	write(t, "/data/new", "x")
	old := []unix.Timespec{{Sec: 1}, {Sec: 1}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, "/data/new", old, 0); err != nil {
		t.Fatal(err)
	}
	read(t, "/data/new")
	var st unix.Stat_t
	if err := unix.Stat("/data/new", &st); err != nil || st.Atim.Sec != 1 {
		t.Errorf("access time %d, %v", st.Atim.Sec, err)
	}
}

func TestOverlayInMemory(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich) }) {
		return
	}
	c := config()
	c.TmpfsSize = "8m"
	root := mustUp(t, c)
	if root.upper != -1 {
		t.Error("a descriptor is kept for nothing")
	}
	write(t, "/data/new", "x")
	if err := os.Rename("/data/sub", "/data/moved"); err != nil {
		t.Error(err)
	}
	err := os.WriteFile("/data/large", make([]byte, 9<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("past the limit: %v", err)
	}
	if err := root.Settle(SettleLimit, nil); err != nil {
		t.Error(err)
	}
}

// TestBareImage has only /bin, so all mount points are made.
func TestBareImage(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(bare); o.disk(16) }) {
		return
	}
	mustUp(t, config())
	if n := strings.Count(mounts(t), "\n"); n != 9 {
		t.Errorf("%d mounts:\n%s", n, mounts(t))
	}
	if st, err := os.Stat("/tmp"); err != nil || st.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("/tmp: %v, %v", st, err)
	}
}

// TestOldDevEmpty has no mount at /dev of the old root, like a plain initramfs.
func TestOldDevEmpty(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(os.Getenv("DISK")); err == nil {
		t.Fatal("the devices are to be out of sight")
	}
	mustUp(t, config())
	if _, err := os.Stat(os.Getenv("DISK")); err != nil {
		t.Error(err)
	}
}

// TestBaseIsRoot has the image as both the old root (root=/dev/vda) and the base.
func TestBaseIsRoot(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
		return
	}
	old := "/mnt"
	if err := unix.Mount(os.Getenv("BASE"), old, "squashfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	// Go's test binary opens nothing late, so it can do without the machine's own root.
	if err := unix.Chdir(old); err != nil {
		t.Fatal(err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	// finds the devices through a devtmpfs of its own, because the image's /dev is empty
	mustUp(t, config())
	write(t, "/data/new", "x")
	if n := strings.Count(mounts(t), "squashfs"); n != 0 {
		t.Errorf("the old root is still there:\n%s", mounts(t))
	}
}

// TestOtherImage has a disk that was used with another image before. Files of both are there, each
// with its own content. A directory of the image can never be renamed again.
func TestOtherImage(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.disk(16)
		o.base(rich)
		o.tell("TURN", "1")
		o.run()
		o.base(other)
		o.tell("TURN", "2")
		o.run()
		o.base(rich)
		o.tell("TURN", "3")
	})
	if !inside {
		return
	}
	turn := os.Getenv("TURN")
	if turn == "1" {
		mustUp(t, config())
		write(t, "/data/changed", "upper\n")
		for _, err := range []error{os.Remove("/data/deleted"), os.Rename("/data/sub", "/data/moved")} {
			if err != nil {
				t.Error(err)
			}
		}
		unix.Sync()
		return
	}
	said := ""
	root, err := Up(config(), func(_ Step, _ time.Duration, err error) {
		if err != nil && !errors.Is(err, unix.EINVAL) { // ctrl-alt-del
			said += err.Error()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, root)
	if want := "image: compare " + os.Getenv("DISK") + ": it was used with another image: no directory of the image can be renamed"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	want := map[string]string{"/data/changed": "upper\n", "/data/kept": "base\n", "/data/moved/file": "base\n"}
	if turn == "2" {
		want = map[string]string{"/data/changed": "upper\n", "/data/kept": "other\n", "/data/added": "other\n"}
	}
	for range 3 { // in no order
		for path, text := range want {
			if got := read(t, path); got != text {
				t.Errorf("%s is %q, want %q", path, got, text)
			}
		}
	}
	if _, err := os.Lstat("/data/deleted"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was deleted is there: %v", err)
	}
	if err := os.Rename("/data", "/moved"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("rename of a directory of the image: %v", err)
	}
}

// mustUpOnOther fails the test unless the only step that fails is the comparison of the image with
// the disk's mark.
func mustUpOnOther(t *testing.T, c Config) *Root {
	t.Helper()
	var failed []string
	root, err := Up(c, func(s Step, _ time.Duration, err error) {
		if err != nil && s.Name != "ctrl-alt-del" {
			failed = append(failed, s.Name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, root)
	if len(failed) != 1 || failed[0] != "image" {
		t.Errorf("steps that failed: %q, want the image's alone", failed)
	}
	return root
}

// TestUsedWithoutMark has a disk with files but no mark, from before there were marks or filled by
// hand. It may have been used with any image.
func TestUsedWithoutMark(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.disk(16)
		o.base(rich)
		o.tell("TURN", "1")
		o.run()
		o.tell("TURN", "2")
	})
	if !inside {
		return
	}
	if os.Getenv("TURN") == "1" {
		root := mustUp(t, config())
		write(t, "/data/changed", "upper\n")
		if err := unix.Fremovexattr(root.upper, diskMark); err != nil {
			t.Fatal(err)
		}
		unix.Sync()
		return
	}
	mustUpOnOther(t, config())
	if err := os.Rename("/data", "/moved"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("rename of a directory of the image: %v", err)
	}
}
