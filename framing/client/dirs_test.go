package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	if len(notes) != 1 || notes[0] != "s: left out: it is a socket" {
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
		root, err := os.OpenRoot(to)
		if err != nil {
			t.Fatal(err)
		}
		u := dirUnpacker{root: root, o: &TarOptions{NoOwner: true}}
		if err := u.unpack(&b); err == nil {
			t.Errorf("%s: no error", name)
		}
		root.Close()
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
