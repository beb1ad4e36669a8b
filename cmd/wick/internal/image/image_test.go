package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"wick/cmd/wick/internal/cache"
	"wick/framing/client"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

// needs skips the test if a tool is missing.
func needs(t *testing.T, name string) {
	t.Helper()
	if _, err := tool(t.Context(), name); err != nil {
		t.Skip(err)
	}
}

// list returns the entries of an image as unsquashfs -lln prints them, by name. An entry has its
// mode, the ids of owner and group, the size or device, the name and the target.
func list(t *testing.T, image string) map[string]string {
	t.Helper()
	cmd, err := tool(t.Context(), "unsquashfs", "-lln", image)
	if err != nil {
		t.Skip(err)
	}
	out, err := run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		before, name, ok := strings.Cut(strings.TrimSpace(line), "squashfs-root")
		if !ok {
			continue
		}
		fields := strings.Fields(before) // mode, owner, size or two device numbers, date, time
		name, target, _ := strings.Cut(name, " -> ")
		found[name] = strings.TrimSpace(strings.Join(fields[:len(fields)-2], " ") + " " + target)
	}
	return found
}

func expect(t *testing.T, image string, want map[string]string) {
	t.Helper()
	got := list(t, image)
	for name, what := range want {
		// The size of a directory is that of its listing.
		if strings.HasPrefix(what, "d") {
			got[name] = strings.Join(strings.Fields(got[name] + " ")[:min(2, len(strings.Fields(got[name])))], " ")
		}
		if name == "" && os.Getuid() != 0 { // squashfs-tools 4.5 gives it to their own user
			what, _, _ = strings.Cut(what, " ")
			got[name], _, _ = strings.Cut(got[name], " ")
		}
		if got[name] != what {
			t.Errorf("%s is %q, want %q", name, got[name], what)
		}
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// initFile makes a vm-init of 4 bytes.
func initFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vm-init")
	write(t, path, "init", 0o600)
	return path
}

func TestDirectory(t *testing.T) {
	needs(t, "mksquashfs")
	dir := t.TempDir()
	write(t, dir+"/usr/sbin/vm-init", "an old one", 0o755)
	write(t, dir+"/dev/console", "", 0o644)
	write(t, dir+"/etc/conf", "conf", 0o640)
	for _, err := range []error{
		os.Symlink("usr/sbin", dir+"/sbin"), os.Link(dir+"/etc/conf", dir+"/etc/same"), os.Chmod(dir+"/etc/conf", 0o750|os.ModeSetuid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := treeKey(t, dir)
	store := cache.Dir(t.TempDir())
	root, err := Build(t.Context(), store, runtime.GOARCH, dir, initFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if root.Init != "/sbin/vm-init" {
		t.Errorf("init is at %s", root.Init)
	}
	expect(t, root.Path, map[string]string{
		"": "drwxr-xr-x 0/0", "/sbin": "lrwxrwxrwx 0/0 8 usr/sbin", "/usr/sbin/vm-init": "-rwxr-xr-x 0/0 4",
		"/dev/console": "crw------- 0/0 5, 1", "/dev/null": "crw-rw-rw- 0/0 1, 3",
		"/etc/conf": "-rwsr-x--- 0/0 4", "/etc/same": "-rwsr-x--- 0/0 4", "/tmp": "drwxrwxrwt 0/0", "/proc": "drwxr-xr-x 0/0",
	})
	if treeKey(t, dir) != before {
		t.Error("the user's directory was changed")
	}
	again, err := Build(t.Context(), store, runtime.GOARCH, dir, initFile(t))
	if err != nil || again != root {
		t.Errorf("the second time it is %v, %v", again, err)
	}
	write(t, dir+"/etc/more", "", 0o644)
	if other, err := Build(t.Context(), store, runtime.GOARCH, dir, initFile(t)); err != nil || other == root {
		t.Errorf("with one file more it is still %v, %v", other, err)
	}
}

func treeKey(t *testing.T, dir string) string {
	t.Helper()
	k := cache.NewKey("test", 1)
	if _, err := lookAt(dir, k); err != nil {
		t.Fatal(err)
	}
	return k.Name("tree", "")
}

// exported returns a tar like the export of a container: owners by number, device nodes, and names
// with a leading dot.
func exported(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		{Typeflag: tar.TypeDir, Name: "./home/", Mode: 0o750, Uid: 1000, Gid: 1001},
		{Typeflag: tar.TypeReg, Name: "./home/f", Mode: 0o4711, Uid: 70000, Gid: 7, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}},
		{Typeflag: tar.TypeLink, Name: "./home/g", Linkname: "./home/f"},
		{Typeflag: tar.TypeBlock, Name: "./disk", Mode: 0o660, Devmajor: 8, Devminor: 1},
		{Typeflag: tar.TypeFifo, Name: "./fifo", Mode: 0o600},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTar(t *testing.T) {
	needs(t, "mksquashfs")
	plain := exported(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	var packed bytes.Buffer
	zst, err := zstd.NewWriter(&packed)
	if err == nil {
		_, err = zst.Write(plain)
	}
	if err := errors.Join(err, zst.Close()); err != nil {
		t.Fatal(err)
	}
	// Add types that no file system has, and one that it has in another form.
	var odd bytes.Buffer
	w := tar.NewWriter(&odd)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123"}})
	w.Flush()
	label := make([]byte, 512)
	copy(label, "label")
	copy(label[124:], "00000000000")
	label[156] = 'V'
	copy(label[148:], "        ")
	sum := 0
	for _, c := range label {
		sum += int(c)
	}
	copy(label[148:], fmt.Sprintf("%06o\x00 ", sum))
	odd.Write(label)
	odd.Write(plain)
	for name, content := range map[string][]byte{"plain": plain, "gzip": zipped.Bytes(), "zstd": packed.Bytes(), "with a label": odd.Bytes()} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root")
			write(t, path, string(content), 0o644)
			root, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, path, initFile(t))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, root.Path, map[string]string{
				"": "drwxr-xr-x 0/0", "/home": "drwxr-x--- 1000/1001", "/home/f": "-rws--x--x 70000/7 0", "/home/g": "-rws--x--x 70000/7 0",
				"/disk": "brw-rw---- 0/0 8, 1", "/fifo": "prw------- 0/0 0", "/sbin/vm-init": "-rwxr-xr-x 0/0 4",
			})
		})
	}
	t.Run("cut", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "root")
		write(t, path, string(zipped.Bytes()[:zipped.Len()/2]), 0o644)
		store := cache.Dir(t.TempDir())
		if _, err := Build(t.Context(), store, runtime.GOARCH, path, initFile(t)); err == nil {
			t.Error("half an archive makes an image")
		}
		if left, err := os.ReadDir(string(store)); err != nil || len(left) != 0 {
			t.Errorf("left %v, %v", left, err)
		}
	})
}

// TestTarWithHoles makes a root from a tar with holes, which become zeros.
func TestTarWithHoles(t *testing.T) {
	needs(t, "mksquashfs")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Size: 1 << 20}
	err := client.WriteSparse(w, &b, h, []client.Extent{{Offset: 4096, Length: 4}}, func(w io.Writer) error { _, err := io.WriteString(w, "data"); return err })
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root")
	write(t, path, b.String(), 0o644)
	root, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, path, initFile(t))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, root.Path, map[string]string{"/f": "-rw-r--r-- 0/0 1048576"})
}

func TestSquashfs(t *testing.T) {
	needs(t, "mksquashfs")
	dir := t.TempDir()
	write(t, dir+"/usr/bin/x", "x", 0o755)
	given := filepath.Join(t.TempDir(), "given")
	if out, err := exec.Command("mksquashfs", dir, given, "-quiet", "-no-progress", "-all-root").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before, err := os.ReadFile(given)
	if err != nil {
		t.Fatal(err)
	}
	store := cache.Dir(t.TempDir())
	root, err := Build(t.Context(), store, runtime.GOARCH, given, initFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if root.Init != "/vm-init" || root.Path == given {
		t.Errorf("root %v, want a copy with /vm-init", root)
	}
	expect(t, root.Path, map[string]string{"/usr/bin/x": "-rwxr-xr-x 0/0 1", "/vm-init": "-rwxr-xr-x 0/0 4"})
	if after, err := os.ReadFile(given); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the given image was changed (%v)", err)
	}
	if left, err := os.ReadDir(string(store)); err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v, %v, want the image alone", left, err)
	}
	// A squashfs with a vm-init is used unchanged.
	if again, err := Build(t.Context(), store, runtime.GOARCH, root.Path, initFile(t)); err != nil || again != root {
		t.Errorf("root %v, %v, want the given %v", again, err, root)
	}
}

func TestDefaultSystem(t *testing.T) {
	needs(t, "mksquashfs")
	if !static("/bin/busybox") && !static("/usr/bin/busybox") {
		t.Skip("no static busybox here: as root, apt-get install busybox-static")
	}
	init := initFile(t)
	root, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, "", init)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, root.Path, map[string]string{
		"/bin/sh": "lrwxrwxrwx 0/0 12 /bin/busybox", "/etc/passwd": "-rw-r--r-- 0/0 82", "/tmp": "drwxrwxrwt 0/0",
		"/sbin/vm-init": "-rwxr-xr-x 0/0 4", "/root": "drwx------ 0/0", "/dev/null": "crw-rw-rw- 0/0 1, 3",
	})
	again, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, "", init)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(root.Path)
	if b, err := os.ReadFile(again.Path); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same busybox gives another image (%v)", err)
	}
}

func TestBadSources(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	write(t, text, "hello", 0o644)
	for _, source := range []string{text, os.DevNull} {
		_, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, source, initFile(t))
		if _, ok := errors.AsType[*SourceError](err); !ok {
			t.Errorf("%s: error %v, want a SourceError", source, err)
		}
	}
	for _, init := range []string{"/nonexistent", initFile(t)} {
		if _, err := Build(t.Context(), cache.Dir(t.TempDir()), runtime.GOARCH, "/nonexistent", init); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want that it does not exist", err)
		}
	}
}

func TestResolve(t *testing.T) {
	s := &stream{links: map[string]string{
		"sbin": "usr/sbin", "usr/sbin": "bin", "abs": "/usr/sbin", "up": "../../usr", "loop": "loop2", "loop2": "/loop", "root": "/",
	}}
	for in, want := range map[string]string{
		"sbin": "usr/bin", "abs": "usr/bin", "up/sbin": "usr/bin", "plain": "plain", "root/sbin": "usr/bin", "loop": "",
	} {
		got, err := s.resolve(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("resolve(%s) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestOverlay(t *testing.T) {
	needs(t, "mkfs.ext4")
	dir := t.TempDir()
	var images [2][]byte
	for i := range images {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := Overlay(t.Context(), path, 64); err != nil {
			t.Fatal(err)
		}
		var err error
		if images[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if len(images[0]) != 64<<20 {
		t.Errorf("the image has %d bytes", len(images[0]))
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one size differ")
	}
	if out, err := exec.Command("e2fsck", "-fn", dir+"/a").CombinedOutput(); err != nil && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	if err := Overlay(t.Context(), dir+"/a", 64); !errors.Is(err, os.ErrExist) {
		t.Errorf("an image that is there: error %v", err)
	}
	if err := Overlay(t.Context(), dir+"/tiny", 0); err == nil {
		t.Error("an image of no size was made")
	} else if _, err := os.Stat(dir + "/tiny"); err == nil {
		t.Error("what could not be made is left")
	}
}

// TestSaveFollowsNoLink puts links at and beside the output. Their target must stay as it is, and
// the output is replaced.
func TestSaveFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image, victim, out := filepath.Join(dir, "image"), filepath.Join(dir, "victim"), filepath.Join(dir, "out")
	if err := errors.Join(os.WriteFile(image, []byte("image"), 0o600), os.WriteFile(victim, []byte("mine"), 0o600),
		os.Symlink(victim, out), os.Symlink(victim, out+".tmp")); err != nil {
		t.Fatal(err)
	}
	if err := Save(image, out); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{out: "image", victim: "mine"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("ReadFile(%s) = %q, %v, want %q", path, got, err, want)
		}
	}
	info, err := os.Lstat(out)
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("Lstat(out) = %v, %v, want mode 0644", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("ReadDir = %v, %v, want 4 entries", entries, err)
	}
}
