package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWriteFile puts files where it is not simply a new one. Each case is given a directory and returns the path to write.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	old := func(dir string) string {
		path := filepath.Join(dir, "file")
		must(os.WriteFile(path, []byte("an older and longer content"), 0o640))
		return path
	}
	tests := []struct {
		name   string
		path   func(dir string) string
		fails  string
		target string // within the directory; what to look at, if not the path
		mode   uint32
	}{
		{name: "new", path: func(dir string) string { return dir + "/new" }, mode: 0o644},
		{name: "in new directories", path: func(dir string) string { return dir + "/a/b//c/new" }, mode: 0o644},
		{name: "old", path: old, mode: 0o640},
		{name: "set-user-ID", path: func(dir string) string { p := old(dir); must(unix.Chmod(p, 0o4755)); return p }, mode: 0o4755},
		{name: "owner", path: func(dir string) string {
			p := old(dir)
			must(unix.Chown(p, 7, 8))
			must(unix.Chmod(p, 0o2751))
			return p
		}, mode: 0o2751},
		{name: "extended attributes", path: func(dir string) string {
			p := old(dir)
			must(unix.Setxattr(p, "user.wick", []byte("value"), 0))
			must(unix.Setxattr(p, "user.empty", nil, 0))
			return p
		}, mode: 0o640},
		{name: "link", path: func(dir string) string {
			old(dir)
			must(os.Symlink("file", dir+"/link"))
			return dir + "/link"
		}, target: "file", mode: 0o640},
		{name: "dangling link", path: func(dir string) string {
			must(os.Symlink("other/file", dir+"/link"))
			return dir + "/link"
		}, target: "other/file", mode: 0o644},
		{name: "loop", path: func(dir string) string { must(os.Symlink("link", dir+"/link")); return dir + "/link" }, fails: "too many levels"},
		{name: "directory", path: func(dir string) string { return dir }, fails: "is a directory"},
		{name: "trailing slash", path: func(dir string) string { return dir + "/new/" }, fails: "is a directory"},
		{name: "under a file", path: func(dir string) string { return old(dir) + "/x" }, fails: "not a directory"},
		{name: "long name", path: func(dir string) string { return dir + "/" + strings.Repeat("x", 256) }, fails: "too long"},
		{name: "longest name", path: func(dir string) string { return dir + "/" + strings.Repeat("x", 255) }, mode: 0o644},
		{name: "FIFO without a reader", path: func(dir string) string { must(unix.Mkfifo(dir+"/fifo", 0o600)); return dir + "/fifo" }, fails: "no such device"},
		{name: "several names", path: func(dir string) string { p := old(dir); must(os.Link(p, dir+"/other")); return p }, mode: 0o640},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if unix.Getuid() != 0 && (test.name == "owner" || test.name == "set-user-ID") {
				t.Skip("run as root, to change owners")
			}
			b := startBox(t)
			dir := t.TempDir()
			path := test.path(dir)
			look := path
			if test.target != "" {
				look = filepath.Join(dir, test.target)
			}
			var before, after unix.Stat_t
			existed := unix.Stat(look, &before) == nil
			attrs := xattrs(look)
			h := b.dial()
			h.send(fileFrame(1, path, []byte("new")))
			reason := h.wrote(1)
			b.empty(dir)
			if test.fails != "" {
				if !strings.Contains(reason, test.fails) {
					t.Errorf("%q, want %q", reason, test.fails)
				}
				return
			}
			if reason != "" {
				t.Fatal(reason)
			}
			b.empty(filepath.Dir(look))
			if got, err := os.ReadFile(look); string(got) != "new" {
				t.Errorf("%q, %v", got, err)
			}
			must(unix.Stat(look, &after))
			if after.Mode&0o7777 != test.mode {
				t.Errorf("mode %o", after.Mode)
			}
			if existed && (before.Uid != after.Uid || before.Gid != after.Gid) {
				t.Errorf("owner %d:%d", after.Uid, after.Gid)
			}
			if got := xattrs(look); got != attrs {
				t.Errorf("attributes %q, want %q", got, attrs)
			}
		})
	}
}

// xattrs are the extended attributes of a file as text.
func xattrs(path string) (text string) {
	buf := make([]byte, 1<<10)
	n, _ := unix.Listxattr(path, buf)
	for _, name := range strings.Split(string(buf[:max(n, 0)]), "\x00") {
		value := make([]byte, 1<<10)
		if n, err := unix.Getxattr(path, name, value); err == nil {
			text += name + "=" + string(value[:n]) + ";"
		}
	}
	return text
}
