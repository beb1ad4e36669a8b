package client

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"
)

// tree makes a directory with all kinds of files, one of them of that size.
func tree(t testing.TB, size int) string {
	t.Helper()
	dir := t.TempDir()
	big := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	for name, content := range map[string][]byte{
		"empty": nil, "hello": []byte("hello\n"), "sub/deep/big": big, "sub/with space": []byte("x"), "sub/\u00fcml\u00e4ut": []byte("y"),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Symlink("hello", filepath.Join(dir, "link")),
		os.Symlink("../hello", filepath.Join(dir, "sub", "up")),
		os.Link(filepath.Join(dir, "hello"), filepath.Join(dir, "sub", "hard")),
		os.Mkdir(filepath.Join(dir, "sub", "none"), 0o700),
		os.Chmod(filepath.Join(dir, "hello"), fs.ModeSetuid|0o755),
		os.Chmod(filepath.Join(dir, "sub"), fs.ModeSticky|0o777),
		os.Chtimes(filepath.Join(dir, "hello"), time.Time{}, time.Unix(1e9, 123456789)),
		os.Chtimes(filepath.Join(dir, "sub"), time.Time{}, time.Unix(1e9, 5)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFS(t *testing.T) {
	t.Parallel()
	// Each byte is read by a request of its own, among others.
	c, dir := agentClient(t), tree(t, 5000)
	for _, flags := range [][]FileFlags{nil, {Safe}} {
		if flags != nil { // which does not follow links, unlike a test of a file system
			os.Remove(filepath.Join(dir, "link"))
			os.Remove(filepath.Join(dir, "sub", "up"))
		}
		if err := fstest.TestFS(c.FS(testContext(t), dir, flags...), "empty", "hello", "sub/deep/big", "sub/with space", "sub/none"); err != nil {
			t.Error(err)
		}
	}
}

func TestFSReadsAsOS(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	f := c.FS(testContext(t), dir)
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		got, err := f.Lstat(name)
		if err != nil {
			return err
		}
		want, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		stat := want.Sys().(*syscall.Stat_t)
		info := got.Sys().(*FileInfo)
		if got.Mode() != want.Mode() || !got.IsDir() && got.Size() != want.Size() || !got.ModTime().Equal(want.ModTime()) ||
			info.UID() != stat.Uid || info.GID() != stat.Gid || info.Inode() != stat.Ino || int(info.Links()) != int(stat.Nlink) {
			t.Errorf("%s: got %v, want %v", name, got, fs.FormatFileInfo(want))
		}
		switch {
		case want.Mode().IsRegular():
			got, err := f.ReadFile(name)
			if err != nil {
				return err
			}
			want, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(want), err)
			}
		case want.Mode()&fs.ModeSymlink != 0:
			got, err := f.ReadLink(name)
			want, _ := os.Readlink(filepath.Join(dir, name))
			if err != nil || got != want {
				t.Errorf("%s: %q, want %q: %v", name, got, want, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	null, err := c.Stat(testContext(t), "/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if major, minor := null.Device(); major != 1 || minor != 3 || null.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice {
		t.Errorf("/dev/null is %v %d %d", null, major, minor)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	name := filepath.Join(dir, "sub/deep/big")
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Open(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.NewSectionReader(f, 1<<20, 1000), want[1<<20:1<<20+1000]); err != nil {
		t.Error(err)
	}
	some := make([]byte, 10)
	for _, at := range []int64{5, 0, 2 << 20, int64(len(want)) - 3} {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(f, some)
		if !bytes.Equal(some[:n], want[at:min(at+10, int64(len(want)))]) || n < 10 && err != io.ErrUnexpectedEOF {
			t.Errorf("at %d: %d bytes, %v", at, n, err)
		}
	}
	if _, err := f.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, want[len(want)-3:]) {
		t.Errorf("the end: %q, %v", rest, err)
	}
	if n, err := f.ReadAt(some, int64(len(want))); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Read(some); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	// This file does not know its size.
	if b, err := c.ReadFile(testContext(t), "/proc/self/stat"); err != nil || len(b) == 0 {
		t.Errorf("/proc/self/stat: %q, %v", b, err)
	}
}

func TestFileErrors(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	ctx := testContext(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, test := range []struct {
		op   string
		want error
		err  error
	}{
		{"stat", syscall.ENOENT, second(c.Stat(ctx, in("missing")))},
		{"stat", syscall.ENOTDIR, second(c.Stat(ctx, in("hello/x")))},
		{"stat", syscall.ELOOP, second(c.Stat(ctx, in("link"), Safe))},
		{"open", fs.ErrNotExist, second(c.Open(ctx, in("missing")))},
		{"read", syscall.EISDIR, second(c.ReadFile(ctx, in("sub")))},
		{"list", syscall.ENOTDIR, second(c.ReadDir(ctx, in("hello")))},
		{"readlink", syscall.EINVAL, second(c.ReadLink(ctx, in("hello")))},
		{"readlink", syscall.ENOENT, second(c.ReadLink(ctx, "/proc/2/exe"))}, // of a kernel thread
		{"mkdir", fs.ErrExist, c.Mkdir(ctx, in("sub"), 0o755)},
		{"remove", syscall.ENOTEMPTY, c.Remove(ctx, in("sub"))},
		{"rename", syscall.ENOENT, c.Rename(ctx, in("missing"), in("x"))},
		{"rename", syscall.EEXIST, c.Rename(ctx, in("empty"), in("hello"), NoReplace)},
		{"symlink", syscall.EEXIST, c.Symlink(ctx, "x", in("hello"))},
		{"link", syscall.ENOENT, c.Link(ctx, in("missing"), in("x"))},
		{"chmod", syscall.ENOENT, c.Chmod(ctx, in("missing"), 0o644)},
		{"chown", syscall.ENOENT, c.Chown(ctx, in("missing"), 0, 0)},
		{"chtimes", syscall.ENOENT, c.Chtimes(ctx, in("missing"), time.Now())},
		{"write", syscall.ENOENT, second(c.WriteStream(ctx, in("a/b"), strings.NewReader("x"), WriteOptions{}))},
		{"write", syscall.EEXIST, second(c.WriteStream(ctx, in("hello"), strings.NewReader("x"), WriteOptions{Exclusive: true}))},
		{"write", syscall.ENAMETOOLONG, second(c.WriteStream(ctx, strings.Repeat("x", 70000), strings.NewReader("x"), WriteOptions{}))},
		{"stat", syscall.EINVAL, second(c.Stat(ctx, "a\x00b"))},
	} {
		if e, ok := errors.AsType[*fs.PathError](test.err); !ok || e.Op != test.op || !errors.Is(test.err, test.want) {
			t.Errorf("got %v, want %s: %v", test.err, test.op, test.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestChanges(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	ctx := testContext(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	at := time.Unix(1234567890, 987654321)
	for _, err := range []error{
		c.MkdirAll(ctx, in("a/b/c"), fs.ModeSetgid|0o775),
		c.MkdirAll(ctx, in("a/b/c"), 0o755),
		c.Rename(ctx, in("empty"), in("a/b/c/moved")),
		c.Symlink(ctx, "b/c", in("a/s")),
		c.Link(ctx, in("a/b/c/moved"), in("a/hard")),
		c.Chown(ctx, in("a/hard"), KeepOwner, KeepOwner),
		c.Chmod(ctx, in("a/hard"), fs.ModeSetuid|fs.ModeSetgid|0o711),
		c.Chtimes(ctx, in("a/hard"), at),
		c.Chtimes(ctx, in("a/s"), at, NoFollow),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{
		"a/b/c": fs.ModeDir | fs.ModeSetgid | 0o775, "a/b": fs.ModeDir | 0o755, "a/b/c/moved": fs.ModeSetuid | fs.ModeSetgid | 0o711,
	} {
		if i, err := os.Lstat(in(name)); err != nil || i.Mode() != mode {
			t.Errorf("%s: %v, want %v, %v", name, i.Mode(), mode, err)
		}
	}
	for _, name := range []string{"a/hard", "a/s"} {
		if i, err := os.Lstat(in(name)); err != nil || !i.ModTime().Equal(at) {
			t.Errorf("%s: %v, %v", name, i.ModTime(), err)
		}
	}
	if resolved, err := c.RealPath(ctx, dir+"/a/s/../c/moved/../x/./y"); err != nil || resolved != in("a/b/c/x/y") {
		t.Errorf("real path %s, %v", resolved, err)
	}
	if err := os.Symlink("loop", in("loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RealPath(ctx, in("loop")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
	// The target of a link stays.
	if err := c.Symlink(ctx, in("sub"), in("a/b/out")); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := os.WriteFile(in("a/b/c/f")+string(rune('a'+i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it does not exist
		if err := c.RemoveAll(ctx, in("a")); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(in("a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a: %v", err)
	}
	if _, err := os.Stat(in("sub/deep/big")); err != nil {
		t.Error(err)
	}
}
