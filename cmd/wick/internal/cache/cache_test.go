package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, Release) }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir Dir) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

func TestBuiltOnceBySeveral(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "new"))
	var builds atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := dir.Get(t.Context(), "kind-1", func(_ context.Context, tmp string) error {
				builds.Add(1)
				return os.WriteFile(tmp, []byte("content"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "content" {
				t.Errorf("entry %q, %v", b, err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left %v, want the entry alone", left)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	dir := Dir(t.TempDir())
	bad := errors.New("bad")
	_, err := dir.Get(t.Context(), "kind-1", func(_ context.Context, tmp string) error {
		write(t, tmp, "half")
		return bad
	})
	if err != bad {
		t.Errorf("error %v, want that of the build", err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestHalfMadeIsSwept(t *testing.T) {
	dir := Dir(t.TempDir())
	half := filepath.Join(string(dir), "kind-1.tmp")
	if err := os.MkdirAll(half+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := dir.Get(t.Context(), "kind-1", func(_ context.Context, tmp string) error { return os.Mkdir(tmp, 0o700) })
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
		t.Errorf("entry holds %v, %v", entries, err)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	dir := Dir(t.TempDir())
	l, err := lock(t.Context(), filepath.Join(string(dir), "kind-1.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = dir.Get(ctx, "kind-1", func(context.Context, string) error { t.Error("built"); return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}

// TestTreeKey checks that a key changes with everything that an entry is made from, and with
// nothing else.
func TestTreeKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sub", "file")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "one")
	key := func() string {
		t.Helper()
		k := NewKey("test", 1)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			k.File(path, info)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return k.Name("tree", "")
	}
	was := key()
	if key() != was {
		t.Fatal("the key of an unchanged tree changes")
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"content, with the old date", func() error {
			write(t, file, "two")
			return os.Chtimes(file, info.ModTime(), info.ModTime())
		}},
		{"mode", func() error { return os.Chmod(file, 0o600) }},
		{"name", func() error { return os.Rename(file, file+"2") }},
		{"link", func() error { return os.Symlink("a", file) }},
		{"link's target", func() error { os.Remove(file); return os.Symlink("b", file) }},
		{"new directory", func() error { return os.Mkdir(filepath.Join(dir, "new"), 0o755) }},
	} {
		// The file system's clock ticks every few milliseconds. Two changes of a file within a tick
		// look alike.
		time.Sleep(20 * time.Millisecond)
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if now := key(); now == was {
			t.Errorf("%s: the key stays the same", change.name)
		} else {
			was = now
		}
	}
}

func TestContentKey(t *testing.T) {
	dir := t.TempDir()
	key := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, content)
		k := NewKey("test", 1)
		if err := k.Content(path); err != nil {
			t.Fatal(err)
		}
		return k.Name("content", ".x")
	}
	if key("a", "same") != key("b", "same") {
		t.Error("equal files elsewhere have another key")
	}
	if key("a", "same") == key("a", "else") {
		t.Error("another content has the same key")
	}
	one, two := NewKey("k", 1), NewKey("k", 1)
	one.Add("ab", "c")
	two.Add("a", "bc")
	if one.Name("k", "") == two.Name("k", "") {
		t.Error("parts run together")
	}
}

// TestForeignDirIsRefused has a cache of another user, or one open to every user. It is neither
// read nor written.
func TestForeignDirIsRefused(t *testing.T) {
	build := func(_ context.Context, tmp string) error { return os.WriteFile(tmp, nil, 0o600) }
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(open, "kind-1"), "planted")
	if path, err := Dir(open).Get(t.Context(), "kind-1", build); err == nil {
		t.Errorf("Get from a directory that all can write to = %q, want an error", path)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if path, err := Dir(file).Get(t.Context(), "kind-1", build); err == nil {
		t.Errorf("Get from a file = %q, want an error", path)
	}
	foreign := t.TempDir()
	if err := os.Chown(foreign, 65533, 65533); err != nil {
		t.Skipf("%v: run as root", err)
	}
	for _, name := range []string{"kind-1", "kind-2"} {
		if name == "kind-1" {
			write(t, filepath.Join(foreign, name), "planted")
		}
		if path, err := Dir(foreign).Get(t.Context(), name, build); err == nil {
			t.Errorf("Get(%q) from the directory of another user = %q, want an error", name, path)
		}
	}
	if left := names(t, Dir(foreign)); len(left) != 1 {
		t.Errorf("it made %v", left)
	}
}
