package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// archiveOf returns a tar of these entries. The content of a regular file is its Linkname.
func archiveOf(t testing.TB, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	b := &bytes.Buffer{}
	w := tar.NewWriter(b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// retyped changes the type of the entry of that name.
func retyped(b []byte, name string, kind byte) []byte {
	for at := 0; at+512 <= len(b); at += 512 {
		head := b[at : at+512]
		if string(bytes.TrimRight(head[:100], "\x00")) != name {
			continue
		}
		head[156] = kind
		copy(head[148:156], "        ")
		sum := 0
		for _, c := range head {
			sum += int(c)
		}
		copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return b
}

// TestTarTypes unpacks every type of entry: each is made, passed over with a note, or refused with
// a reason.
func TestTarTypes(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	for kind, want := range map[byte]struct{ mode, note, refused string }{
		tar.TypeReg: {mode: "-"}, tar.TypeCont: {mode: "-"}, 'D': {mode: "d"}, 0: {mode: "-"},
		'g': {note: "left out: it is a global header, which does not count here"},
		'V': {note: "left out: it is the label of the archive"}, 'N': {note: "left out: it is metadata of type 'N'"}, 'X': {note: "left out: it is metadata of type 'X'"},
		'A': {note: "left out: it is metadata of type 'A'"}, 'E': {note: "left out: it is metadata of type 'E'"}, 'I': {note: "left out: it is metadata of type 'I'"},
		'M': {refused: "it begins in another volume of the archive"},
		'Z': {mode: "-", note: "it is of type 'Z', and taken for a regular file"}, '8': {mode: "-", note: "it is of type '8', and taken for a regular file"},
	} {
		var b []byte
		name := "odd"
		if kind == 'g' {
			name = "pax_global_header"
			b = archiveOf(t, tar.Header{Typeflag: 'g', Name: name, PAXRecords: map[string]string{"path": "x"}}, tar.Header{Typeflag: tar.TypeReg, Name: "next", Linkname: "text"}).Bytes()
		} else {
			b = retyped(archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: name}, tar.Header{Typeflag: tar.TypeReg, Name: "next", Linkname: "text"}).Bytes(), name, kind)
		}
		to := t.TempDir()
		var notes []string
		err := c.TarTo(testContext(t), bytes.NewReader(b), to, TarOptions{NoOwner: true, Note: func(name, reason string) { notes = append(notes, name+": "+reason) }})
		if want.refused != "" {
			if err == nil || !strings.HasSuffix(err.Error(), want.refused) {
				t.Errorf("type %q: got %v", kind, err)
			}
			continue
		}
		if next, _ := os.ReadFile(filepath.Join(to, "next")); err != nil || string(next) != "text" {
			t.Errorf("type %q: the next file has %q, %v", kind, next, err)
		}
		info, err := os.Lstat(filepath.Join(to, name))
		if want.mode == "" && err == nil || want.mode != "" && (err != nil || info.Mode().String()[:1] != want.mode) {
			t.Errorf("type %q: got %v, %v", kind, info, err)
		}
		if got := strings.Join(notes, "; "); want.note == "" && got != "" || want.note != "" && !strings.HasSuffix(got, want.note) {
			t.Errorf("type %q: the note is %q, want %q", kind, got, want.note)
		}
	}
}

// TestTarOfGit passes over a global header that has only a comment, without a note.
func TestTarOfGit(t *testing.T) {
	t.Parallel()
	c, to := agentClient(t), t.TempDir()
	b := archiveOf(t, tar.Header{Typeflag: 'g', Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123"}}, tar.Header{Typeflag: tar.TypeReg, Name: "f"})
	err := c.TarTo(testContext(t), b, to, TarOptions{NoOwner: true, Note: func(name, reason string) { t.Errorf("%s: %s", name, reason) }})
	if _, lost := os.Stat(filepath.Join(to, "f")); err != nil || lost != nil {
		t.Error(err, lost)
	}
}

// TestTarOfNothing checks that empty input is an error.
func TestTarOfNothing(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	for name, input := range map[string]string{"empty": "", "short": "hello\n", "long": strings.Repeat("no tar", 1000)} {
		err := c.TarTo(testContext(t), strings.NewReader(input), t.TempDir(), TarOptions{})
		if !isType[*TarError](err) || !strings.HasPrefix(err.Error(), "tar: the input is ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestTarOfSpecialFiles copies FIFOs, devices and sockets out of a guest, and those that a tar can
// hold in again.
func TestTarOfSpecialFiles(t *testing.T) {
	t.Parallel()
	c, dir, to := agentClient(t), t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(unix.Mkfifo(in("p"), 0o640), unix.Mknod(in("s"), unix.S_IFSOCK|0o600, 0), os.WriteFile(in("z"), []byte("last"), 0o600))
	devices := os.Getuid() == 0 && unix.Mknod(in("null"), unix.S_IFCHR|0o604, int(unix.Mkdev(1, 3))) == nil
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	o := TarOptions{NoOwner: true, Note: func(name, reason string) { notes = append(notes, name+": "+reason) }}
	var archive bytes.Buffer
	if err := errors.Join(c.TarFrom(testContext(t), dir, &archive, o), c.TarTo(testContext(t), &archive, to, o)); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || notes[0] != in("s")+": left out: it is a socket" {
		t.Errorf("the notes are %q", notes)
	}
	if i, err := os.Lstat(filepath.Join(to, "p")); err != nil || i.Mode() != fs.ModeNamedPipe|0o640 {
		t.Errorf("the FIFO is %v, %v", i, err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "z")); err != nil || string(b) != "last" {
		t.Errorf("the last file has %q, %v", b, err)
	}
	if i, err := os.Lstat(filepath.Join(to, "null")); devices && (err != nil || i.Mode() != fs.ModeDevice|fs.ModeCharDevice|0o604 || i.Sys().(*syscall.Stat_t).Rdev != unix.Mkdev(1, 3)) {
		t.Errorf("the device is %v, %v", i, err)
	}
}

// TestTarMerges unpacks into a tree with links: links that stay inside are followed, and others
// refused.
func TestTarMerges(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	reg := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
	}
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
	for name, test := range map[string]struct {
		target  string // a shell command that makes the target
		entries []tar.Header
		want    map[string]string // contents
		refused bool
	}{
		"a link to a directory":            {"mkdir -p usr/bin; ln -s usr/bin bin", []tar.Header{dir("bin/"), reg("bin/x", "1")}, map[string]string{"usr/bin/x": "1", "bin/x": "1"}, false},
		"an absolute one":                  {`mkdir -p usr/bin; ln -s "$PWD/usr/bin" bin`, []tar.Header{dir("bin/"), reg("bin/x", "1")}, map[string]string{"usr/bin/x": "1", "bin/x": "1"}, false},
		"without an entry":                 {"mkdir -p usr/bin; ln -s usr/bin bin", []tar.Header{reg("bin/a/b/x", "1")}, map[string]string{"usr/bin/a/b/x": "1"}, false},
		"a link up":                        {"mkdir -p a/b c; ln -s ../../c a/b/l", []tar.Header{reg("a/b/l/x", "1")}, map[string]string{"c/x": "1"}, false},
		"links in a row":                   {"mkdir real; ln -s real l1; ln -s l1 l2", []tar.Header{dir("l2/"), reg("l2/x", "1")}, map[string]string{"real/x": "1"}, false},
		"a link in the archive":            {":", []tar.Header{dir("real/"), {Typeflag: tar.TypeSymlink, Name: "l", Linkname: "real"}, reg("l/x", "1")}, map[string]string{"real/x": "1"}, false},
		"a link to a file":                 {"echo old > f; ln -s f l", []tar.Header{reg("l", "1")}, map[string]string{"f": "old\n", "l": "1"}, false},
		"a link out, replaced":             {"ln -s ../out l", []tar.Header{reg("l", "1")}, map[string]string{"l": "1"}, false},
		"a directory for a link to a file": {"echo old > f; ln -s f d", []tar.Header{dir("d/"), reg("d/x", "1")}, map[string]string{"f": "old\n", "d/x": "1"}, false},
		"a directory for a file":           {"echo old > d", []tar.Header{dir("d/"), reg("d/x", "1")}, map[string]string{"d/x": "1"}, false},
		"a file for an empty directory":    {"mkdir f", []tar.Header{reg("f", "1")}, map[string]string{"f": "1"}, false},
		"a hard link through one":          {"mkdir real; ln -s real l", []tar.Header{reg("l/x", "1"), {Typeflag: tar.TypeLink, Name: "l/y", Linkname: "l/x"}}, map[string]string{"real/y": "1"}, false},
		"a link out":                       {"ln -s ../out l", []tar.Header{dir("l/"), reg("l/x", "1")}, nil, true},
		"an absolute link out":             {"ln -s /tmp l", []tar.Header{reg("l/wick-x", "1")}, nil, true},
		"a link out, and back":             {`ln -s "../$(basename "$PWD")/in" l; mkdir in`, []tar.Header{reg("l/x", "1")}, nil, true},
		"a hard link to what is outside":   {"ln -s ../out l; echo secret > ../out/f", []tar.Header{{Typeflag: tar.TypeLink, Name: "x", Linkname: "l/f"}}, nil, true},
	} {
		top := t.TempDir()
		to := filepath.Join(top, "to")
		sh := exec.Command("sh", "-c", "mkdir ../out; "+test.target)
		sh.Dir = to
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if b, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", name, b)
		}
		before := snapshot(t, filepath.Join(top, "out"))
		for range 2 { // the second time over the first
			err := c.TarTo(testContext(t), archiveOf(t, test.entries...), to, TarOptions{NoOwner: true})
			if isType[*TarError](err) != test.refused || err != nil != test.refused {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for file, want := range test.want {
			if b, err := os.ReadFile(filepath.Join(to, file)); err != nil || string(b) != want {
				t.Errorf("%s: %s has %q, %v", name, file, b, err)
			}
		}
		if after := snapshot(t, filepath.Join(top, "out")); after != before {
			t.Errorf("%s: outside there is\n%s", name, after)
		}
	}
}

// blocks returns the disk usage of a file in bytes.
func blocks(t testing.TB, name string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// holey makes a file of 64 MiB with data at its beginning, in its middle and, if last is set, at
// its end.
func holey(t testing.TB, name string, last bool) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteAt([]byte("first"), 0)
	f.WriteAt([]byte("middle"), 30<<20+5000)
	if last {
		f.WriteAt([]byte("last"), 64<<20-4)
	}
	if err := f.Truncate(256 << 20); err != nil {
		t.Fatal(err)
	}
	if n := blocks(t, name); n > 1<<20 {
		t.Skipf("this file system keeps no holes: %d bytes", n)
	}
}

// TestTarKeepsHoles keeps the holes of a file out of the guest, in again, and through other
// programs.
func TestTarKeepsHoles(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), t.TempDir()
	holey(t, filepath.Join(dir, "a"), true)
	holey(t, filepath.Join(dir, strings.Repeat("long", 40)), false)
	if err := os.Truncate(filepath.Join(dir, "a"), 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "none"), nil, 0o600), os.Truncate(filepath.Join(dir, "none"), 64<<20)); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := c.TarFrom(testContext(t), dir, &archive, TarOptions{}); err != nil {
		t.Fatal(err)
	}
	if archive.Len() > 1<<20 {
		t.Errorf("the archive has %d bytes", archive.Len())
	}
	want := snapshot(t, dir)
	check := func(by, to string) {
		if got := snapshot(t, to); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", by, got, want)
		}
		for _, name := range []string{"a", "none", strings.Repeat("long", 40)} {
			if n := blocks(t, filepath.Join(to, name)); n > 1<<20 {
				t.Errorf("%s: %s takes %d bytes", by, name, n)
			}
			if exec.Command("cmp", filepath.Join(dir, name), filepath.Join(to, name)).Run() != nil {
				t.Errorf("%s: %s differs", by, name)
			}
		}
	}
	to := t.TempDir()
	if err := c.TarTo(testContext(t), bytes.NewReader(archive.Bytes()), to, TarOptions{}); err != nil {
		t.Fatal(err)
	}
	check("TarTo", to)
	to = t.TempDir()
	gnu := exec.Command("tar", "-x", "-C", to)
	gnu.Stdin = bytes.NewReader(archive.Bytes())
	if out, err := gnu.CombinedOutput(); err != nil {
		t.Fatalf("tar: %s", out)
	}
	check("GNU tar", to)
	for _, format := range []string{"gnu", "posix"} {
		for _, version := range []string{"0.0", "0.1", "1.0"} {
			b, err := exec.Command("tar", "-c", "-C", dir, "-S", "--format="+format, "--sparse-version="+version, ".").Output()
			if err != nil || len(b) > 1<<20 {
				t.Fatalf("tar: %d bytes, %v", len(b), err)
			}
			to = t.TempDir()
			if err := c.TarTo(testContext(t), bytes.NewReader(b), to, TarOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "none"} {
				if n := blocks(t, filepath.Join(to, name)); n > 1<<20 || exec.Command("cmp", filepath.Join(dir, name), filepath.Join(to, name)).Run() != nil {
					t.Errorf("%s %s: %s takes %d bytes, or differs", format, version, name, n)
				}
			}
		}
	}
}

// TestCopySparse checks that every block of zeros becomes a hole.
func TestCopySparse(t *testing.T) {
	t.Parallel()
	x, o := strings.Repeat("x", sparseBlock), strings.Repeat("\x00", sparseBlock)
	for _, test := range []struct {
		in   string
		want []string
	}{
		{"", nil}, {"abc", []string{"abc"}}, {o, []string{"4096"}}, {o + "a", []string{"4096", "a"}}, {x + o + o + x, []string{x, "8192", x}},
		{strings.Repeat(o, 20), []string{"81920"}}, {o[:10], []string{"10"}}, {"a" + o, []string{"a" + o[1:], "1"}},
	} {
		var got []string
		err := CopySparse(strings.NewReader(test.in), func(b []byte) error { got = append(got, string(b)); return nil },
			func(n int64) error { got = append(got, fmt.Sprint(n)); return nil })
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%d bytes: got %d pieces, want %d, %v", len(test.in), len(got), len(test.want), err)
		}
	}
}

// TestTarKeepsAttributes keeps the attributes of files and directories, or notes their loss.
func TestTarKeepsAttributes(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), t.TempDir()
	f := filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(f, nil, 0o600), unix.Setxattr(f, "user.a", []byte("x\x00y"), 0), unix.Setxattr(dir, "user.d", []byte("d"), 0)); err != nil {
		t.Skipf("needs a file system with extended attributes: %v", err)
	}
	capability := []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00") // cap_net_bind_service+ep
	capable := unix.Setxattr(f, "security.capability", capability, 0) == nil
	for _, owners := range []bool{true, false} {
		var notes []string
		o := TarOptions{NoOwner: !owners, Attributes: true, Note: func(name, reason string) { notes = append(notes, name+": "+reason) }}
		var archive bytes.Buffer
		to := t.TempDir()
		if err := errors.Join(c.TarFrom(testContext(t), dir, &archive, o), c.TarTo(testContext(t), &archive, to, o)); err != nil {
			t.Fatal(err)
		}
		var b [100]byte
		if n, err := unix.Getxattr(filepath.Join(to, "f"), "user.a", b[:]); err != nil || string(b[:n]) != "x\x00y" {
			t.Errorf("user.a: %q, %v", b[:max(n, 0)], err)
		}
		if n, err := unix.Getxattr(to, "user.d", b[:]); err != nil || string(b[:n]) != "d" {
			t.Errorf("user.d: %q, %v", b[:max(n, 0)], err)
		}
		if !capable {
			continue
		}
		n, err := unix.Getxattr(filepath.Join(to, "f"), "security.capability", b[:])
		if owners && (err != nil || !bytes.Equal(b[:n], capability) || len(notes) > 0) {
			t.Errorf("the capability is %q, %v; %q", b[:max(n, 0)], err, notes)
		}
		if !owners && (err == nil || !slices.Contains(notes, f+": its attribute security.capability is left out")) {
			t.Errorf("without owners: %v, %q", err, notes)
		}
	}
}

// TestTarWaits checks which entries wait for earlier ones: a file that replaces a directory, a hard
// link to a file in flight.
func TestTarWaits(t *testing.T) {
	t.Parallel()
	w := &tarUnpacker{dir: "/to", had: map[string]bool{}}
	for _, step := range []struct {
		name          string
		leaf, depends bool
	}{
		{"/to/a/b", true, false}, {"/to/a", true, true}, // a is a directory by then
		{"/to/a/c", true, true}, // and here it is not
		{"/to/d", false, false}, {"/to/d/e", true, false}, {"/to/d", false, false}, {"/to/d/e", true, true}, {"/to/d/e", false, true},
	} {
		if got := w.depends(step.name, step.leaf); got != step.depends {
			t.Errorf("%s, a leaf %v: it depends %v", step.name, step.leaf, got)
		}
	}

	c, to := agentClient(t), t.TempDir()
	var entries []tar.Header
	for i := range 500 {
		name := fmt.Sprint("f", i)
		entries = append(entries, tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: name}, tar.Header{Typeflag: tar.TypeLink, Name: fmt.Sprint("l", i), Linkname: name})
	}
	if err := c.TarTo(testContext(t), archiveOf(t, entries...), to, TarOptions{NoOwner: true}); err != nil {
		t.Fatal(err)
	}
}
