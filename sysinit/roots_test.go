//go:build linux

package sysinit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layer makes an image whose only file, /data/NAME, holds its own name.
func layer(name string) func() ([]byte, error) {
	return func() ([]byte, error) {
		return squash(func(root string) error { return fillLayer(root, name) })
	}
}

func fillLayer(root, name string) error {
	if err := os.MkdirAll(filepath.Join(root, "data"), 0o755); err != nil {
		return err
	}
	for _, file := range []string{name, "kept"} {
		if err := os.WriteFile(filepath.Join(root, "data", file), []byte(name+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// needErofs skips the test where no erofs can be made or mounted.
func needErofs(t *testing.T) {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return
	}
	if _, err := exec.LookPath("mkfs.erofs"); err != nil {
		t.Skip("mkfs.erofs is missing: apt-get install erofs-utils")
	}
	if known, _ := os.ReadFile("/proc/filesystems"); !bytes.Contains(known, []byte("\terofs\n")) {
		t.Skip("the kernel lacks erofs: modprobe erofs")
	}
}

// erofs attaches a device with a layer as an erofs.
func (o *outside) erofs(device, name string) {
	o.t.Helper()
	root := filepath.Join(o.dir, name)
	if err := os.Mkdir(root, 0o755); err != nil {
		o.t.Fatal(err)
	}
	if err := fillLayer(root, name); err != nil {
		o.t.Fatal(err)
	}
	image := filepath.Join(o.dir, name+".erofs")
	tool(o.t, "mkfs.erofs", image, root)
	o.device(device, image, 0)
}

// TestLayers stacks a squashfs, an erofs and another squashfs. The highest layer wins.
func TestLayers(t *testing.T) {
	needErofs(t)
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.erofs("SECOND", "second")
		content, err := layer("third")()
		if err != nil {
			o.t.Fatal(err)
		}
		o.device("THIRD", o.file("third.squashfs", content), 0)
		o.disk(16)
	})
	if !inside {
		return
	}
	c := config()
	c.Base += "," + os.Getenv("SECOND") + "," + os.Getenv("THIRD")
	mustUp(t, c)
	for path, text := range map[string]string{
		"/data/changed": "base\n", "/data/second": "second\n", "/data/third": "third\n", "/data/kept": "third\n",
	} {
		if got := read(t, path); got != text {
			t.Errorf("%s holds %q, want %q", path, got, text)
		}
	}
	write(t, "/data/kept", "upper\n")
	if err := os.Rename("/data/sub", "/data/moved"); err != nil {
		t.Errorf("rename of a directory of the lowest layer: %v", err)
	}
}

// TestErofs has an erofs alone as the base, with an overlay in memory.
func TestErofs(t *testing.T) {
	needErofs(t)
	if !enter(t, func(o *outside) { o.erofs("BASE", "only") }) {
		return
	}
	mustUp(t, config())
	if got := read(t, "/data/only"); got != "only\n" {
		t.Errorf("/data/only holds %q, want %q", got, "only\n")
	}
}

// TestOtherLayers has a disk that was used with other layers: directories of the image cannot be
// renamed then.
func TestOtherLayers(t *testing.T) {
	needErofs(t)
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.erofs("SECOND", "second")
		o.disk(16)
		o.tell("TURN", "1")
		o.run()
		o.tell("TURN", "2")
	})
	if !inside {
		return
	}
	c := config()
	if os.Getenv("TURN") == "1" {
		mustUp(t, c)
		return
	}
	c.Base += "," + os.Getenv("SECOND")
	mustUpOnOther(t, c)
	if err := os.Rename("/data/sub", "/data/moved"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("rename of a directory of the image: %v, want EXDEV", err)
	}
}

// TestWritableRoot boots from an ext4 twice. The first machine's file is there in the second, and
// the disk is clean after each.
func TestWritableRoot(t *testing.T) {
	inside := enter(t, func(o *outside) {
		path := o.ext4("root", 16)
		o.device("BASE", path, 0)
		o.tell("TURN", "1")
		o.run()
		o.tell("TURN", "2")
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside, second time: %v\n%s", err, out)
			}
			tool(o.t, "e2fsck", "-f", "-n", path)
		})
	})
	if !inside {
		return
	}
	c := config()
	c.WritableRoot, c.Overlay = true, "/dev/not-used"
	root := mustUp(t, c)
	if first := strings.SplitN(mounts(t), "\n", 2)[0]; first != "/ ext4 rw,noatime" {
		t.Errorf("the root is %q, want an ext4", first)
	}
	if fd, ok := root.Writable(); !ok || fd < 0 {
		t.Errorf("Writable() = %d, %v, want a descriptor to freeze", fd, ok)
	}
	if os.Getenv("TURN") == "1" {
		write(t, "/kept", "first\n")
	} else if got := read(t, "/kept"); got != "first\n" {
		t.Errorf("/kept holds %q, want %q", got, "first\n")
	}
	if err := root.Settle(SettleLimit, nil); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

// TestWritableRootNotExt4 names what the device holds.
func TestWritableRootNotExt4(t *testing.T) {
	failure{
		prepare: both,
		change:  func(c *Config, _ *kinds) { c.WritableRoot = true },
		want:    "root disk: mount $BASE on rw: invalid argument: the device holds squashfs, not ext4",
		errno:   unix.EINVAL,
	}.test(t)
}

// TestSecondLayerMissing names the layer that is missing, and leaves nothing mounted.
func TestSecondLayerMissing(t *testing.T) {
	failure{
		prepare: both,
		change:  func(c *Config, _ *kinds) { c.Base += ",/nowhere/vdc" },
		want:    "base: find /nowhere/vdc: no such file or directory: the device did not appear within 0 s",
		errno:   unix.ENOENT,
	}.test(t)
}
