package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopyLendsNobody checks that a set-user-ID file of the guest loses the bit if the copy has
// another owner.
func TestCopyLendsNobody(t *testing.T) {
	socket, _ := agentSocket(t)
	addr, dir := "unix:"+socket, t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	const mode = fs.ModeSetuid | fs.ModeSetgid | 0o755
	if err := errors.Join(os.MkdirAll(in("tree/sub"), 0o755), os.WriteFile(in("tree/f"), nil, 0o600), os.Chmod(in("tree/f"), mode),
		os.Chmod(in("tree/sub"), fs.ModeSetgid|0o775)); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		args []string
		want fs.FileMode
	}{
		{[]string{":" + in("tree"), "NEW"}, 0o755}, {[]string{in("tree"), ":NEW"}, 0o755},
		{[]string{"-a", ":" + in("tree"), "NEW"}, mode}, {[]string{"-a", in("tree"), ":NEW"}, mode},
		{[]string{":" + in("tree/f"), "NEW/f"}, 0o755}, {[]string{in("tree/f"), ":NEW/f"}, 0o755},
		{[]string{"-a", ":" + in("tree/f"), "NEW/f"}, mode}, {[]string{"-a", in("tree/f"), ":NEW/f"}, mode},
	} {
		to := in(fmt.Sprint("new", i))
		args := []string{"--to", addr, "cp"}
		for _, arg := range test.args {
			if strings.Contains(arg, "NEW/") {
				os.Mkdir(to, 0o755)
			}
			args = append(args, strings.Replace(arg, "NEW", to, 1))
		}
		if code, _, stderr := wick(t, args...); code != 0 {
			t.Fatalf("%q: %d, %s", test.args, code, stderr)
		}
		if info, err := os.Stat(to + "/f"); err != nil || info.Mode() != test.want {
			t.Errorf("%q: %v, want %v, %v", test.args, info.Mode(), test.want, err)
		}
		if info, err := os.Stat(to + "/sub"); err == nil && info.Mode() != fs.ModeDir|fs.ModeSetgid|0o775 {
			t.Errorf("%q: the directory is %v", test.args, info.Mode())
		}
	}
}

// TestCopyOfContents leaves the directory that they go into as it is.
func TestCopyOfContents(t *testing.T) {
	socket, _ := agentSocket(t)
	addr, dir := "unix:"+socket, t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(in("tree"), 0o777), os.Chmod(in("tree"), 0o777), os.WriteFile(in("tree/f"), nil, 0o600),
		os.Mkdir(in("a"), 0o700), os.Mkdir(in("b"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for to, args := range map[string][]string{"a": {":" + in("tree") + "/.", in("a")}, "b": {in("tree") + "/.", ":" + in("b")}} {
		if code, _, stderr := wick(t, append([]string{"--to", addr, "cp"}, args...)...); code != 0 {
			t.Fatalf("%q: %d, %s", args, code, stderr)
		}
		if info, err := os.Stat(in(to)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%q: %v, %v", args, info.Mode(), err)
		}
		if _, err := os.Stat(in(to + "/f")); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyOfWhatIsAbove has the name of that, and stays in the directory that it goes into.
func TestCopyOfWhatIsAbove(t *testing.T) {
	socket, _ := agentSocket(t)
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "tree/sub"), 0o755), os.MkdirAll(filepath.Join(dir, "a/b"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{":" + dir + "/tree/sub/..", dir + "/a/b"}, {dir + "/tree/sub/..", ":" + dir + "/a"}} {
		if code, _, stderr := wick(t, append([]string{"--to", "unix:" + socket, "cp"}, args...)...); code != 0 {
			t.Fatalf("%q: %d, %s", args, code, stderr)
		}
	}
	for _, path := range []string{"a/b/tree/sub", "a/tree/sub"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyOfAFile replaces what a link leads to, and has the mode of what is copied, be it none.
func TestCopyOfAFile(t *testing.T) {
	socket, _ := agentSocket(t)
	addr, dir := "unix:"+socket, t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(in("new"), []byte("new"), 0o600), os.Chmod(in("new"), 0), os.WriteFile(in("old"), []byte("old"), 0o644),
		os.Symlink("old", in("link"))); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{":" + in("new"), in("link")}, {in("new"), ":" + in("into")}} {
		if os.Getuid() != 0 {
			t.Skip("as root it can be read: run the tests as root")
		}
		if code, _, stderr := wick(t, append([]string{"--to", addr, "cp"}, args...)...); code != 0 {
			t.Fatalf("%q: %d, %s", args, code, stderr)
		}
	}
	for _, name := range []string{"old", "into"} {
		b, err := os.ReadFile(in(name))
		info, _ := os.Lstat(in(name))
		if err != nil || string(b) != "new" || info.Mode() != 0 {
			t.Errorf("%s: %q, %v, %v", name, b, info.Mode(), err)
		}
	}
	if to, err := os.Readlink(in("link")); err != nil || to != "old" {
		t.Errorf("the link: %s, %v", to, err)
	}
	if code, _, stderr := wick(t, "--to", addr, "cp", ":"+in("old"), in("nosuch/new")); code != 1 || strings.Contains(stderr, ".wick-") {
		t.Errorf("%d, %s", code, stderr)
	}
}
