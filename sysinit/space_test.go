//go:build linux

package sysinit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A test that builds a machine runs twice. Outside, it makes the disks. Inside, as process 1 of its
// own namespaces, it builds the machine and checks it:
//
//	if !enter(t, func(o *outside) { o.base(rich); o.disk(16) }) {
//		return
//	}
//	... as process 1 ...

const insideEnv = "SYSINIT_TEST_INSIDE"

// outside makes what the inside needs.
type outside struct {
	t     *testing.T
	dir   string
	env   []string
	after []func(out string, err error)
}

func enter(t *testing.T, prepare func(o *outside)) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		// Keep the test's mounts in this namespace.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	needRoot(t)
	o := &outside{t: t, dir: t.TempDir()}
	prepare(o)
	o.run()
	return false
}

// run runs the inside from start to end. Its output becomes the test's.
func (o *outside) run() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+o.t.Name()+"$", "-test.count=1", "-test.v")
	// The runtime would keep control group files of the old root open, and leaktest would see their
	// names change.
	cmd.Env = append(append(os.Environ(), insideEnv+"=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"), o.env...)
	// Standard input is not /dev/null, because the console would be opened in its place.
	r, w, err := os.Pipe()
	if err != nil {
		o.t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	cmd.Stdin = r
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
		unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP}
	err = cmd.Run()
	if o.after != nil {
		for _, f := range o.after {
			f(out.String(), err)
		}
		return
	}
	if err != nil {
		o.t.Fatalf("inside: %v\n%s", err, out.String())
	} else if testing.Verbose() {
		o.t.Logf("inside:\n%s", out.String())
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounts and loop devices need root: run the tests as root")
	}
	for _, tool := range []string{"mksquashfs", "mkfs.ext4", "e2fsck", "busybox"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install squashfs-tools e2fsprogs busybox-static", tool)
		}
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"squashfs", "ext4", "overlay"} {
		if !bytes.Contains(known, []byte("\t"+kind+"\n")) {
			t.Skipf("the kernel lacks %s: modprobe %[1]s", kind)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("no loop devices: modprobe loop")
	}
}

// rich makes an image like a real one. bare makes one with only /bin, without a mount point.
var (
	rich = sync.OnceValues(func() ([]byte, error) {
		return squash(func(root string) error {
			for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "data/sub", "etc"} {
				if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
					return err
				}
			}
			if err := os.Chmod(filepath.Join(root, "tmp"), os.ModeSticky|0o777); err != nil {
				return err
			}
			for name, text := range map[string]string{
				"data/kept": "base\n", "data/changed": "base\n", "data/deleted": "base\n", "data/sub/file": "base\n",
				"dev/null-is-not-here": "",
			} {
				if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
					return err
				}
			}
			return nil
		})
	})
	bare = sync.OnceValues(func() ([]byte, error) { return squash(func(string) error { return nil }) })
	// other makes a rich image with other content.
	other = func() ([]byte, error) {
		return squash(func(root string) error {
			if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
				return err
			}
			for _, name := range []string{"kept", "changed", "deleted", "added"} {
				if err := os.WriteFile(filepath.Join(root, "data", name), []byte("other\n"), 0o644); err != nil {
					return err
				}
			}
			return nil
		})
	}
)

func squash(fill func(root string) error) ([]byte, error) {
	dir, err := os.MkdirTemp("", "sysinit-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		return nil, err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), program, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink("busybox", filepath.Join(root, "bin/sh")); err != nil {
		return nil, err
	}
	if err := fill(root); err != nil {
		return nil, err
	}
	image := filepath.Join(dir, "image")
	if out, err := exec.Command("mksquashfs", root, image, "-noappend", "-comp", "gzip").CombinedOutput(); err != nil {
		return nil, errors.New(err.Error() + ": " + string(out))
	}
	return os.ReadFile(image)
}

// file writes content to a file that the inside finds at the returned path, in the old root.
func (o *outside) file(name string, content []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func (o *outside) base(image func() ([]byte, error)) {
	o.t.Helper()
	content, err := image()
	if err != nil {
		o.t.Fatal(err)
	}
	o.device("BASE", o.file("base", content), 0)
}

// disk makes an ext4 of mib MiB and returns its image's path.
func (o *outside) disk(mib int, options ...string) string {
	o.t.Helper()
	path := o.ext4("disk", mib, options...)
	o.device("DISK", path, 0)
	return path
}

func (o *outside) ext4(name string, mib int, options ...string) string {
	o.t.Helper()
	path := o.file(name, nil)
	if err := os.Truncate(path, int64(mib)<<20); err != nil {
		o.t.Fatal(err)
	}
	tool(o.t, "mkfs.ext4", append(append([]string{"-q", "-F"}, options...), path)...)
	return path
}

// device attaches path to a loop device and tells the inside its name. The device detaches itself
// once it is unused, even if this process dies.
func (o *outside) device(name, path string, flags uint32) {
	o.t.Helper()
	dev := loop(o.t, path, flags)
	o.tell(name, dev)
}

func (o *outside) tell(name, value string) { o.env = append(o.env, name+"="+value) }

func loop(t *testing.T, path string, flags uint32) string {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	control, err := os.Open("/dev/loop-control")
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	for range 50 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		name := "/dev/loop" + itoa(n)
		dev, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | flags
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
		if err == unix.EBUSY {
			// Another process was faster.
			dev.Close()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		return name
	}
	t.Fatal("no free loop device")
	return ""
}

func itoa(n int) string {
	var b []byte
	for {
		b = append([]byte{byte('0' + n%10)}, b...)
		if n /= 10; n == 0 {
			return string(b)
		}
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Inside.

// config describes the machine with the disks that the outside made.
func config() Config {
	c := Default()
	c.Base, c.Overlay = os.Getenv("BASE"), os.Getenv("DISK")
	if c.Overlay == "" {
		c.Overlay = Tmpfs
	}
	c.Wait = 0
	return c
}

// mustUp fails the test on any step that fails.
func mustUp(t *testing.T, c Config) *Root {
	t.Helper()
	runtime.LockOSThread()
	root, err := Up(c, func(s Step, took time.Duration, err error) {
		if err != nil && s.Name != "ctrl-alt-del" { // EINVAL in any process namespace but the first
			t.Errorf("%s", err)
		}
		t.Logf("%8s %s", took.Round(10*time.Microsecond), s)
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, root)
	return root
}

func closeAfter(t *testing.T, root *Root) {
	t.Cleanup(root.close)
}

// mustNotUp returns the error of a machine that cannot come up. It fails the test if Up leaves a
// mount or a descriptor behind.
func mustNotUp(t *testing.T, c Config, k *kinds) error {
	t.Helper()
	before := mountIDs(t)
	if k == nil {
		k = &kinds{"squashfs", "ext4", "overlay", "devtmpfs"}
	}
	root, err := up(c, *k, nil)
	if err == nil {
		closeAfter(t, root)
		t.Fatal("it came up")
	}
	var step *StepError
	if !errors.As(err, &step) {
		t.Errorf("%T is no *StepError", err)
	}
	if root == nil || root.upper != -1 || root.disk != -1 {
		t.Errorf("root is %+v", root)
	}
	if left := leftBehind(before, mountIDs(t)); len(left) > 0 {
		t.Errorf("mounts are left behind: %q", left)
	}
	if cwd, err := os.Getwd(); err != nil || cwd != "/" {
		t.Errorf("working directory %q, %v", cwd, err)
	}
	return err
}

// mountIDs returns the mount table by mount number: the file system and mount point of each.
func mountIDs(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		before, kind, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		found[f[0]] = strings.Fields(kind)[0] + " on " + f[4]
	}
	return found
}

// leftBehind returns the mounts added between two snapshots. Removed ones are not the test's: an
// rmdir anywhere on the machine detaches the mounts on the directory in all namespaces.
func leftBehind(before, after map[string]string) (left []string) {
	for id, what := range after {
		if before[id] != what { // a number is used again once its mount has gone
			left = append(left, what)
		}
	}
	return left
}

// mounts returns the mount table: "/proc proc rw,nosuid,nodev,noexec".
func mounts(t *testing.T) string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		for i, w := range f {
			if w == "-" {
				b.WriteString(f[4] + " " + f[i+1] + " " + f[5] + "\n")
			}
		}
	}
	return b.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// snapshot copies an image as the disk holds it now. It takes descriptors, because the paths are in
// another root by then.
type snapshot struct{ from, to *os.File }

func newSnapshot(t *testing.T, from, to string) *snapshot {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.Create(to)
	if err != nil {
		f.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); w.Close() })
	return &snapshot{f, w}
}

func (s *snapshot) take(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(s.to, s.from); err != nil {
		t.Error(err)
	}
}
