package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/cache"
)

// needRoot skips a test that needs root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners, devices and mounts need root: run the tests as root")
	}
}

// must fails the test on the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// built makes an image from a directory.
func built(t *testing.T, dir string) Root {
	t.Helper()
	root, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, dir, initFile(t))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// unpacked unpacks an image and returns the directory.
func unpacked(t *testing.T, image string) string {
	t.Helper()
	needs(t, "unsquashfs")
	needRoot(t) // it makes the image's devices
	dir := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("unsquashfs", "-quiet", "-no-progress", "-d", dir, image).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	return dir
}

// said fails the test unless the notes of root are these lines.
func said(t *testing.T, root Root, want ...string) {
	t.Helper()
	text := ""
	for _, line := range want {
		text += line + "\n"
	}
	if root.Notes != text {
		t.Errorf("notes\n%swant\n%s", root.Notes, text)
	}
}

// state describes an entry: mode, owner, device, links, size, time, attributes.
func state(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	s := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
	if !info.IsDir() {
		s += fmt.Sprintf(" links=%d dev=%d size=%d time=%d", st.Nlink, st.Rdev, st.Size, st.Mtim.Sec)
	}
	for _, name := range []string{"security.capability", "trusted.link", "user.name"} {
		var value [64]byte
		if n, err := unix.Lgetxattr(path, name, value[:]); err == nil {
			s += fmt.Sprintf(" %s=%q", name, value[:n])
		}
	}
	return s
}

// TestDirectoryAsItIs checks that owners, modes, devices, links, attributes, holes and odd names
// are in the image.
func TestDirectoryAsItIs(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	long := strings.Repeat("l", 255)
	write(t, at("bin/ping"), "ping", 0o755)
	write(t, at("bin/su"), "su", 0o755)
	write(t, at("home/u/file"), "u", 0o600)
	write(t, at("etc/shadow"), "secret", 0)
	write(t, at("odd/a\nb\xff\\ *'\"=\t"), "odd", 0o644)
	write(t, at("odd/-rf"), "odd", 0o644)
	write(t, at("odd/ blank "), "odd", 0o644)
	write(t, at("odd/"+long+"/"+long+"/"+long), "long", 0o644)
	write(t, at("holes"), "begin", 0o644)
	must(t,
		os.Truncate(at("holes"), 8<<20),
		os.Link(at("bin/su"), at("bin/also-su")), os.Link(at("bin/su"), at("odd/third")),
		os.Symlink("/nowhere/\xff", at("odd/dangling")), os.Symlink("../"+strings.Repeat("t", 4000), at("odd/far")),
		os.Symlink("/nix/store/"+strings.Repeat("h", 90), at("odd/100+1")), os.Symlink("./é", at("odd/é")),
		os.Link(at("odd/dangling"), at("odd/same-link")),
		unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 1<<18))),
		unix.Mknod(at("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mkfifo(at("fifo"), 0o620),
		os.Mkdir(at("sticky"), 0o755), os.Mkdir(at("closed"), 0),
		unix.Setxattr(at("bin/ping"), "security.capability", []byte(capability), 0),
		unix.Lsetxattr(at("odd/dangling"), "trusted.link", []byte("\x00\xff"), 0),
		unix.Setxattr(at("sticky"), "user.name", []byte("a=b\n"), 0),
		os.Lchown(at("home/u"), 1000, 1001), os.Lchown(at("home/u/file"), 4000000000, 100000),
		os.Lchown(at("odd/dangling"), 7, 8), os.Lchown(at("fifo"), 9, 9), os.Lchown(at("disk"), 0, 6),
		unix.Chmod(at("bin/su"), 0o6755), unix.Chmod(at("sticky"), 0o3777),
	)
	root := built(t, dir)
	said(t, root)
	got := unpacked(t, root.Path)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if is, want := state(t, got+name), state(t, path); is != want {
			t.Errorf("%q is\n%s, want\n%s", name, is, want)
		}
		return nil
	})
	must(t, err)
	if content, err := os.ReadFile(got + "/etc/shadow"); err != nil || string(content) != "secret" {
		t.Errorf("/etc/shadow holds %q, %v", content, err)
	}
	if info, err := os.Stat(root.Path); err != nil || info.Size() > 1<<20 {
		t.Errorf("the image has %d bytes, %v: the hole is in it", info.Size(), err)
	}
}

// TestOwners checks that the owner of a tree becomes root only if the tree was made without root.
func TestOwners(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	for name, c := range map[string]struct {
		shadow int // the owner of a file
		want   string
	}{
		"made by a user": {1000, "drwxr-xr-x 0/0"},
		"made by root":   {0, "drwxr-xr-x 1000/1000"},
	} {
		dir := t.TempDir()
		write(t, dir+"/etc/shadow", "x", 0o600)
		must(t, os.MkdirAll(dir+"/home/node", 0o755), os.Lchown(dir, 1000, 1000), os.Lchown(dir+"/home/node", 1000, 1000),
			os.Lchown(dir+"/etc", c.shadow, c.shadow), os.Lchown(dir+"/home", c.shadow, c.shadow),
			os.Lchown(dir+"/etc/shadow", c.shadow, c.shadow))
		t.Log(name)
		expect(t, built(t, dir).Path, map[string]string{"/home/node": c.want, "/etc/shadow": "-rw------- 0/0 1"})
	}
}

// TestMountsInDirectory checks that the image has the mount points of a directory, without content.
func TestMountsInDirectory(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"proc", "sys", "src", "here", "sub/tmp"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	write(t, dir+"/etc/resolv.conf", "of the image", 0o644)
	write(t, dir+"/here/file", "here", 0o644)
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, ""); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	}
	mount("proc", dir+"/proc", "proc", 0)
	mount("tmpfs", dir+"/sub/tmp", "tmpfs", 0)
	mount(dir+"/here", dir+"/src", "", unix.MS_BIND) // on the same file system
	mount("/etc/hosts", dir+"/etc/resolv.conf", "", unix.MS_BIND)
	write(t, dir+"/sub/tmp/file", "x", 0o644)
	store, init := cache.Dir(t.TempDir()), initFile(t)
	root, err := Build(t.Context(), store, runtime.GOARCH, dir, init)
	must(t, err)
	said(t, root, "what is mounted in the directory is left out: /etc/resolv.conf, /proc, /src, /sub/tmp")
	got := unpacked(t, root.Path)
	for _, name := range []string{"proc", "src", "sub/tmp"} {
		if entries, err := os.ReadDir(filepath.Join(got, name)); err != nil || len(entries) != 0 {
			t.Errorf("/%s has %v, %v", name, entries, err)
		}
	}
	if content, err := os.ReadFile(got + "/etc/resolv.conf"); err != nil || len(content) != 0 {
		t.Errorf("/etc/resolv.conf holds %q, %v", content, err)
	}
	if content, err := os.ReadFile(got + "/here/file"); err != nil || string(content) != "here" {
		t.Errorf("/here/file holds %q, %v", content, err)
	}
	write(t, dir+"/sub/tmp/more", "x", 0o644)
	if again, err := Build(t.Context(), store, runtime.GOARCH, dir, init); err != nil || again != root {
		t.Errorf("with a file more in a mount it is %v, %v; want the same and its notes", again, err)
	}
}

// TestNotes checks that Notes has what the image lacks, also for a cached image.
func TestNotes(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	dir := t.TempDir()
	for i := range 7 {
		must(t, unix.Mknod(fmt.Sprintf("%s/sock%d", dir, i), unix.S_IFSOCK|0o600, 0))
	}
	write(t, dir+"/listed", "x", 0o644)
	// struct posix_acl_xattr_header and its entries: user::rw-, user:1:r--, group::r--, mask::r--,
	// other::r--.
	list := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x01\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	if err := unix.Setxattr(dir+"/listed", "system.posix_acl_access", []byte(list), 0); err != nil {
		t.Skipf("no access control lists in the temporary directory, %v: set TMPDIR to one with", err)
	}
	said(t, built(t, dir), "sockets are left out, no program listens there: /sock0, /sock1, /sock2, /sock3, /sock4 and 2 more",
		"the image cannot hold access control lists, and drops those of: /listed")
}

// TestUnreadable checks that without root an image lacks what cannot be read, and says so.
func TestUnreadable(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	dir := t.TempDir()
	write(t, dir+"/bin/sh", "sh", 0o755)
	write(t, dir+"/etc/shadow", "secret", 0)
	write(t, dir+"/root/key", "secret", 0o600)
	write(t, dir+"/names/file", "x", 0o600)
	must(t, os.Chmod(dir+"/root", 0o700), os.Chmod(dir+"/names", 0o744))
	store, init := t.TempDir(), initFile(t)
	must(t, os.Chown(store, 65534, 65534), os.Chmod(init, 0o644))
	for _, path := range []string{dir, store, init} {
		must(t, os.Chmod(filepath.Dir(path), 0o755)) // only root may enter the test's own directory
	}
	var root Root
	var err error
	asNobody(t, func() { root, err = Build(t.Context(), cache.Dir(store), runtime.GOARCH, dir, init) })
	must(t, err)
	said(t, root, "you may not read, and so the machine does not have, the content of: /etc/shadow, /names, /names/file, /root")
	got := list(t, root.Path)
	for name, there := range map[string]bool{
		"/bin/sh": true, "/etc/shadow": false, "/root": true, "/root/key": false, "/names": true, "/names/file": false,
	} {
		if (got[name] != "") != there {
			t.Errorf("%s is %q", name, got[name])
		}
	}
}

// asNobody calls f with another user's rights on files.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		// This sets the effective user of this thread only. The kernel drops root's capabilities
		// too.
		keep := ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 65534, keep); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}
