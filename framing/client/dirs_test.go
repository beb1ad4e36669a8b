package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUploadDir copies a tree into the guest and out again.
func TestUploadDir(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	from, there, back := t.TempDir(), filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "back")
	old := time.Unix(1e9, 0)
	err := errors.Join(os.MkdirAll(from+"/a/closed", 0o755), os.WriteFile(from+"/a/f", []byte("text"), 0o640),
		os.WriteFile(from+"/a/closed/x", bytes.Repeat([]byte{7}, 200<<10), 0o755), os.Symlink("../nowhere", from+"/a/l"),
		os.Truncate(from+"/a/f", 1<<20), os.Chmod(from+"/a/closed", 0o500), os.Chtimes(from+"/a/f", old, old))
	t.Cleanup(func() { os.Chmod(from+"/a/closed", 0o700) })
	socket, err2 := net.Listen("unix", from+"/s")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var notes []string
	note := func(name, reason string) { notes = append(notes, name+": "+reason) }
	for range 2 { // the second time over the first
		notes = nil
		if err := c.UploadDir(testContext(t), from, there, TarOptions{Note: note}); err != nil {
			t.Fatal(err)
		}
		if err := c.DownloadDir(testContext(t), there, back, TarOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(notes) != 1 || notes[0] != from+"/s: left out: it is a socket" {
		t.Errorf("notes %q, want the socket alone", notes)
	}
	filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == from || d.Name() == "s" {
			return err
		}
		rel, _ := filepath.Rel(from, name)
		want, _ := os.Lstat(name)
		got, err := os.Lstat(filepath.Join(back, rel))
		if err != nil {
			t.Error(err)
			return nil
		}
		link := want.Mode()&fs.ModeSymlink != 0
		if got.Mode() != want.Mode() || got.Size() != want.Size() && !want.IsDir() || !got.ModTime().Equal(want.ModTime()) && !link {
			t.Errorf("%s: %v %d %v, want %v %d %v", rel, got.Mode(), got.Size(), got.ModTime(), want.Mode(), want.Size(), want.ModTime())
		}
		if want.Mode().IsRegular() {
			a, _ := os.ReadFile(name)
			if b, err := os.ReadFile(filepath.Join(back, rel)); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: the content differs, %v", rel, err)
			}
		}
		return nil
	})
	if target, err := os.Readlink(back + "/a/l"); target != "../nowhere" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if err := c.UploadDir(testContext(t), from+"/missing", there, TarOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("UploadDir of a missing directory: %v", err)
	}
	if err := c.DownloadDir(testContext(t), "/missing", back, TarOptions{}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("DownloadDir of a missing directory: %v", err)
	}
	if err := c.UploadDir(testContext(t), from, "/proc/self/status", TarOptions{}); err == nil {
		t.Error("UploadDir into a file: no error")
	}
}

// attributesOf describes the extended attributes of a file.
func attributesOf(t *testing.T, path string) string {
	t.Helper()
	all, err := LocalAttributes(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q", all)
}

// TestDirsKeepEverything copies a tree into the guest and out again, as it is and by a tar. The
// tree has attributes, ACLs, capabilities, hard links and holes. Without root there is less to
// keep.
func TestDirsKeepEverything(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	from := t.TempDir()
	err := errors.Join(os.MkdirAll(from+"/d/e", 0o755), os.WriteFile(from+"/d/f", bytes.Repeat([]byte("x"), 5000), 0o664), os.Link(from+"/d/f", from+"/d/e/again"),
		os.WriteFile(from+"/holes", []byte("begin"), 0o600), os.Truncate(from+"/holes", 64<<20), syscall.Mkfifo(from+"/fifo", 0o640))
	if err != nil {
		t.Fatal(err)
	}
	// ACLs as the kernel has them: a version, then a tag, permissions and an id for each entry.
	acl := func(mask byte) []byte {
		b := []byte{2, 0, 0, 0}
		for _, e := range [][3]byte{{1, 6, 0xff}, {2, 4, 0}, {4, 4, 0xff}, {0x10, mask, 0xff}, {0x20, 4, 0xff}} {
			id := []byte{0xff, 0xff, 0xff, 0xff}
			if e[2] == 0 {
				id = []byte{0x39, 0x30, 0, 0}
			}
			b = append(append(b, e[0], 0, e[1], 0), id...)
		}
		return b
	}
	capabilities := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service=ep
	set := map[string]map[string][]byte{"d": {"user.dir": []byte("\x00\xff")}, "d/f": {"user.empty": {}, "user.text": []byte("text")}}
	if os.Geteuid() == 0 {
		set["d/e"] = map[string][]byte{"system.posix_acl_access": acl(7), "system.posix_acl_default": acl(5)}
		set["d/f"]["system.posix_acl_access"], set["d/f"]["security.capability"] = acl(6), capabilities
		if err := errors.Join(os.Lchown(from+"/d/f", 12, 34), os.Chmod(from+"/d/f", 0o664)); err != nil {
			t.Fatal(err)
		}
	}
	for name, all := range set {
		for attribute, value := range all {
			if err := unix.Setxattr(filepath.Join(from, name), attribute, value, 0); errors.Is(err, unix.ENOTSUP) {
				t.Skipf("the file system of %s has no %s", from, attribute)
			} else if err != nil {
				t.Fatal(attribute, err)
			}
		}
	}
	note := func(name, reason string) { t.Errorf("%s: %s", name, reason) }
	there, back, tarred := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "back"), filepath.Join(t.TempDir(), "tarred")
	for range 2 { // the second time over the first
		if err := c.UploadDir(testContext(t), from, there, TarOptions{Note: note}); err != nil {
			t.Fatal(err)
		}
		if err := c.DownloadDir(testContext(t), there, back, TarOptions{Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := c.TarFrom(testContext(t), there, &archive, TarOptions{Attributes: true, Note: note}); err != nil {
		t.Fatal(err)
	}
	if err := c.TarTo(testContext(t), &archive, tarred, TarOptions{Attributes: true, Note: note}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{there, back, tarred} {
		for _, name := range []string{"d", "d/e", "d/f", "d/e/again", "holes", "fifo"} {
			want, _ := os.Lstat(filepath.Join(from, name))
			got, err := os.Lstat(filepath.Join(to, name))
			if err != nil {
				t.Error(err)
				continue
			}
			w, g := want.Sys().(*syscall.Stat_t), got.Sys().(*syscall.Stat_t)
			if got.Mode() != want.Mode() || g.Nlink != w.Nlink || g.Uid != w.Uid || g.Gid != w.Gid {
				t.Errorf("%s: %v, %d links, owner %d:%d, want %v, %d, %d:%d", got.Name(), got.Mode(), g.Nlink, g.Uid, g.Gid, want.Mode(), w.Nlink, w.Uid, w.Gid)
			}
			if name == "fifo" {
				continue
			}
			if got, want := attributesOf(t, filepath.Join(to, name)), attributesOf(t, filepath.Join(from, name)); got != want {
				t.Errorf("%s has %s, want %s", filepath.Join(to, name), got, want)
			}
			if name == "holes" && (got.Size() != 64<<20 || g.Blocks > w.Blocks+128) {
				t.Errorf("%s: %d bytes in %d blocks, want %d in %d", to, got.Size(), g.Blocks, want.Size(), w.Blocks)
			}
		}
	}
	// Without owners there are no rights either, and each that is lost is said.
	var notes []string
	o := TarOptions{NoOwner: true, Note: func(name, reason string) {
		notes = append(notes, strings.Replace(filepath.Base(name), "again", "f", 1)+": "+reason)
	}}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := c.DownloadDir(testContext(t), there, plain, o); err != nil {
		t.Fatal(err)
	}
	if got := attributesOf(t, plain+"/d/f"); got != `map["user.empty":"" "user.text":"text"]` {
		t.Errorf("without owners it has %s", got)
	}
	slices.Sort(notes)
	want := ""
	if os.Geteuid() == 0 {
		want = "e: its attribute system.posix_acl_access is left out; e: its attribute system.posix_acl_default is left out; " +
			"f: its attribute security.capability is left out; f: its attribute system.posix_acl_access is left out"
	}
	if got := strings.Join(slices.Compact(notes), "; "); got != want {
		t.Errorf("notes %s, want %s", got, want)
	}
}

// TestDownloadDirStaysInside unpacks entries by which a guest tries to write outside.
func TestDownloadDirStaysInside(t *testing.T) {
	t.Parallel()
	link := func(name, target string, kind byte) *tar.Header {
		return &tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}
	}
	file := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 1}
	}
	for name, entries := range map[string][]*tar.Header{
		"up":             {file("../x")},
		"up below":       {file("a/../../x")},
		"by a link":      {link("l", "..", tar.TypeSymlink), file("l/x")},
		"absolute link":  {link("l", t.TempDir(), tar.TypeSymlink), file("l/x")},
		"hard link":      {link("h", "../secret", tar.TypeLink)},
		"hard by a link": {link("l", "..", tar.TypeSymlink), link("h", "l/secret", tar.TypeLink)},
	} {
		top := t.TempDir()
		to := filepath.Join(top, "to")
		if err := errors.Join(os.Mkdir(to, 0o755), os.WriteFile(top+"/secret", []byte("s"), 0o600)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range entries {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			w.Write([]byte("x")[:h.Size])
		}
		w.Close()
		if err := UnpackDir(&b, to, TarOptions{NoOwner: true, Contents: true}); err == nil {
			t.Errorf("%s: no error", name)
		}
		left, _ := os.ReadDir(top)
		var names []string
		for _, e := range left {
			names = append(names, e.Name())
		}
		if strings.Join(names, " ") != "secret to" {
			t.Errorf("%s: outside there is %q", name, names)
		}
		if _, err := os.Lstat(to + "/h"); err == nil {
			t.Errorf("%s: the guest has linked a file of the host's", name)
		}
	}
}
