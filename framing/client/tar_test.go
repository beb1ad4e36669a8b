package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// snapshot describes a tree: names, modes, owners, times, contents and targets.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		stat := i.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d %v", name, i.Mode(), stat.Uid, stat.Gid, i.ModTime().UTC().Format(time.RFC3339Nano))
		switch {
		case i.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " links=%d %d %x", stat.Nlink, len(content), content[:min(len(content), 20)])
		case i.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			b.WriteString(" -> " + target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTar copies a tree out of a guest and in again.
func TestTar(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o711); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprint(i)), []byte(fmt.Sprint("file ", i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Lchown(filepath.Join(dir, "hello"), 12, 34); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, "hello"), fs.ModeSetuid|0o755) // chown cleared it
		os.Chtimes(filepath.Join(dir, "hello"), time.Time{}, time.Unix(1e9, 123456789))
	}
	want := snapshot(t, dir)
	var archive bytes.Buffer
	var named, sent int64
	progress := func(_ string, n int64) {
		if n == 0 {
			named++
		}
		sent += n
	}
	if err := c.TarFrom(testContext(t), dir, &archive, TarOptions{Progress: progress}); err != nil {
		t.Fatal(err)
	}
	if named != int64(strings.Count(want, "\n")) || sent < 3<<20 {
		t.Errorf("progress told of %d entries and %d bytes", named, sent)
	}
	to := filepath.Join(t.TempDir(), "new")
	for range 2 { // the second time over the first
		if err := c.TarTo(testContext(t), bytes.NewReader(archive.Bytes()), to, TarOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := snapshot(t, to); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	// It copies a single file under another name.
	archive.Reset()
	if err := c.TarFrom(testContext(t), filepath.Join(dir, "link"), &archive, TarOptions{Prefix: "other"}); err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(&archive).Next()
	if err != nil || h.Name != "other" || h.Size != 6 {
		t.Errorf("got %+v, %v", h, err)
	}
}

// TestTarStaysInside checks that no archive writes outside the directory.
func TestTarStaysInside(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	outside := t.TempDir()
	for name, test := range map[string]struct {
		entries []tar.Header
		want    error
	}{
		"dots":     {[]tar.Header{{Name: "a/../../x", Typeflag: tar.TypeReg}}, nil},
		"link out": {[]tar.Header{{Name: "l", Typeflag: tar.TypeLink, Linkname: "../x"}}, nil},
		"volume":   {[]tar.Header{{Name: "v", Typeflag: 'M'}}, nil},
		"through a symlink": {[]tar.Header{
			{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "w", Typeflag: tar.TypeLink, Linkname: "s"}, {Name: "s/x", Typeflag: tar.TypeReg},
		}, syscall.ELOOP},
		"directory through a symlink": {[]tar.Header{
			{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "w", Typeflag: tar.TypeLink, Linkname: "s"}, {Name: "s/x", Typeflag: tar.TypeDir},
		}, syscall.ELOOP},
		"mode through a symlink": {[]tar.Header{
			{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "w", Typeflag: tar.TypeLink, Linkname: "s"}, {Name: "s", Typeflag: tar.TypeDir, Mode: 0},
		}, nil},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for _, h := range test.entries {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		err := c.TarTo(testContext(t), &archive, filepath.Join(t.TempDir(), "to"), TarOptions{NoOwner: true})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if test.want == nil && !isType[*TarError](err) && !isType[*fs.PathError](err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	if i, err := os.Stat(outside); err != nil || i.Mode().Perm() == 0 {
		t.Errorf("outside is %v, %v", i.Mode(), err)
	}
	if err := c.TarTo(testContext(t), strings.NewReader(strings.Repeat("no tar", 1000)), t.TempDir(), TarOptions{}); !errors.Is(err, tar.ErrHeader) {
		t.Errorf("no tar: %v", err)
	}
}

// TestTarWriterFails checks that the files read ahead are closed when the writer fails.
func TestTarWriterFails(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), tree(t, 3<<20+7)
	boom := errors.New("boom")
	err := c.TarFrom(testContext(t), dir, &failingWriter{1 << 20, boom}, TarOptions{})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	noChannels(t, c)
	if err := c.TarFrom(testContext(t), filepath.Join(dir, "missing"), io.Discard, TarOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// failingWriter accepts so many bytes.
type failingWriter struct {
	left int
	err  error
}

func (f *failingWriter) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	if n < len(p) {
		return n, f.err
	}
	return n, nil
}
