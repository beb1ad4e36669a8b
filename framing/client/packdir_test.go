package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tarOf makes a tar. The content of a regular file is its Linkname.
func tarOf(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	b := &bytes.Buffer{}
	w := tar.NewWriter(b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	w.Close()
	return b
}

// TestUnpackMerges unpacks a tree into one with links. Links that stay inside are followed, and
// those that lead out are refused.
func TestUnpackMerges(t *testing.T) {
	reg := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content, Mode: 0o644}
	}
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	for name, test := range map[string]struct {
		target  string // a shell command that makes it
		entries []tar.Header
		want    map[string]string // contents
		refused bool
	}{
		"a link to a directory":            {"mkdir -p usr/bin; ln -s usr/bin bin", []tar.Header{dir("bin/"), reg("bin/x", "1")}, map[string]string{"usr/bin/x": "1", "bin/x": "1"}, false},
		"an absolute one":                  {`mkdir -p usr/bin; ln -s "$PWD/usr/bin" bin`, []tar.Header{dir("bin/"), reg("bin/x", "1")}, map[string]string{"usr/bin/x": "1"}, false},
		"without an entry":                 {"mkdir -p usr/bin; ln -s usr/bin bin", []tar.Header{reg("bin/a/b/x", "1")}, map[string]string{"usr/bin/a/b/x": "1"}, false},
		"a link up":                        {"mkdir -p a/b c; ln -s ../../c a/b/l", []tar.Header{reg("a/b/l/x", "1")}, map[string]string{"c/x": "1"}, false},
		"links in a row":                   {"mkdir real; ln -s real l1; ln -s l1 l2", []tar.Header{dir("l2/"), reg("l2/x", "1")}, map[string]string{"real/x": "1"}, false},
		"a link to a file":                 {"echo old > f; ln -s f l", []tar.Header{reg("l", "1")}, map[string]string{"f": "old\n", "l": "1"}, false},
		"a directory for a link to a file": {"echo old > f; ln -s f d", []tar.Header{dir("d/"), reg("d/x", "1")}, map[string]string{"f": "old\n", "d/x": "1"}, false},
		"a directory for a file":           {"echo old > d", []tar.Header{dir("d/"), reg("d/x", "1")}, map[string]string{"d/x": "1"}, false},
		"a link out":                       {"ln -s ../out l", []tar.Header{dir("l/"), reg("l/x", "1")}, nil, true},
		"an absolute link out":             {"ln -s /tmp l", []tar.Header{reg("l/wick-x", "1")}, nil, true},
		"a link out, and back":             {`ln -s "../$(basename "$PWD")/in" l; mkdir in`, []tar.Header{reg("l/x", "1")}, nil, true},
		"a hard link to what is outside":   {"ln -s ../out l; echo secret > ../out/f", []tar.Header{{Typeflag: tar.TypeLink, Name: "x", Linkname: "l/f"}}, nil, true},
		"a link in a circle":               {"ln -s l l", []tar.Header{reg("l/x", "1")}, nil, true},
	} {
		to := filepath.Join(t.TempDir(), "to")
		os.Mkdir(to, 0o755)
		sh := exec.Command("sh", "-c", "mkdir ../out; "+test.target)
		sh.Dir = to
		if b, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", name, b)
		}
		before, _ := os.ReadDir(filepath.Join(to, "../out"))
		for range 2 { // the second time over the first
			if err := UnpackDir(tarOf(t, test.entries...), to, TarOptions{NoOwner: true}); (err != nil) != test.refused {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for file, want := range test.want {
			if b, err := os.ReadFile(filepath.Join(to, file)); err != nil || string(b) != want {
				t.Errorf("%s: %s has %q, %v", name, file, b, err)
			}
		}
		if after, _ := os.ReadDir(filepath.Join(to, "../out")); len(after) != len(before) {
			t.Errorf("%s: outside there is %v", name, after)
		}
	}
}

// TestUnpackDevices leaves the guest's devices out, and makes its FIFOs.
func TestUnpackDevices(t *testing.T) {
	to := t.TempDir()
	var notes []string
	err := UnpackDir(tarOf(t, tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Mode: 0o666, Devmajor: 8}, tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o640}),
		to, TarOptions{NoOwner: os.Getuid() != 0, Note: func(name, s string) { notes = append(notes, name+": "+s) }})
	if _, there := os.Lstat(filepath.Join(to, "sda")); err != nil || !errors.Is(there, fs.ErrNotExist) || len(notes) != 1 || !strings.HasPrefix(notes[0], "sda: left out: ") {
		t.Errorf("got %v, %v, %q", err, there, notes)
	}
	if i, err := os.Lstat(filepath.Join(to, "p")); err != nil || i.Mode() != fs.ModeNamedPipe|0o640 {
		t.Errorf("the FIFO is %v, %v", i, err)
	}
}

// TestUnpackOfClosedDirectories checks that modes of directories are set from the deepest up.
// Without root nothing below a closed directory can be reached.
func TestUnpackOfClosedDirectories(t *testing.T) {
	if dir := os.Getenv("WICK_UNPACK"); dir != "" {
		err := UnpackDir(tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "a/"}, tar.Header{Typeflag: tar.TypeDir, Name: "a/b/", Mode: 0o700},
			tar.Header{Typeflag: tar.TypeReg, Name: "a/b/f", Mode: 0o600, Linkname: "text"}, tar.Header{Typeflag: tar.TypeDir, Name: "a/b/c/"}), dir, TarOptions{NoOwner: true})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestUnpackOfClosedDirectories$")
	if os.Getuid() == 0 {
		// The binary may lie where others may not go.
		copied, err := os.MkdirTemp("/tmp", "unpack-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(copied) })
		if out, err := exec.Command("cp", self, copied+"/test").CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		dir = copied + "/to"
		if err := errors.Join(os.Chmod(copied, 0o755), os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		cmd.Path = copied + "/test"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else {
		t.Cleanup(func() { exec.Command("chmod", "-R", "u+rwx", dir).Run() })
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "WICK_UNPACK="+dir, "TMPDIR=/tmp")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if i, err := os.Stat(filepath.Join(dir, "a")); err != nil || i.Mode().Perm() != 0 {
		t.Errorf("a: %v, %v", i, err)
	}
}

// shrinking makes a file shorter as soon as its header is written.
type shrinking struct {
	b    bytes.Buffer
	name string
}

func (s *shrinking) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("./a")) || bytes.Contains(b, []byte("GNUSparseFile.0/a")) {
		os.Truncate(s.name, 5)
	}
	return s.b.Write(b)
}

// TestPackOfWhatShrinks fills it up, says so, and goes on.
func TestPackOfWhatShrinks(t *testing.T) {
	for _, holes := range []bool{false, true} {
		dir := t.TempDir()
		name := filepath.Join(dir, "a")
		if err := errors.Join(os.WriteFile(name, bytes.Repeat([]byte("x"), 1<<20), 0o600), os.WriteFile(filepath.Join(dir, "z"), []byte("last"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if holes {
			os.Truncate(name, 2<<20)
		}
		var notes []string
		out := &shrinking{name: name}
		err := PackDir(out, dir, TarOptions{NoOwner: true, Note: func(name, s string) { notes = append(notes, name+": "+s) }})
		if failed, ok := errors.AsType[*fs.PathError](err); !ok || failed.Path != name || len(notes) != 1 || notes[0] != name+": it shrank while it was read; the rest of the copy is zeros" {
			t.Errorf("got %v, %q", err, notes)
		}
		to := t.TempDir()
		if err := UnpackDir(&out.b, to, TarOptions{NoOwner: true}); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(filepath.Join(to, "a"))
		z, _ := os.ReadFile(filepath.Join(to, "z"))
		if want := map[bool]int{false: 1 << 20, true: 2 << 20}[holes]; len(b) != want || !bytes.HasPrefix(b, []byte("xxxxx\x00")) || string(z) != "last" {
			t.Errorf("got %d bytes, %q", len(b), z)
		}
	}
}
