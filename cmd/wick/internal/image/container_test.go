package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/cache"
)

var someHash = strings.Repeat("0123456789abcdef", 4)

// containers has the forms of container images that are not roots, with the names and contents of
// their files in order.
var containers = map[string]struct {
	files [][2]string
	want  string
}{
	"docker save": {[][2]string{
		{"blobs/sha256/" + someHash, "{}"}, {"index.json", "{}"}, {"manifest.json", "[]"}, {"oci-layout", "{}"}, {"repositories", "{}"},
	}, "docker save or the OCI layout"},
	"docker save before 25": {[][2]string{
		{someHash + ".json", "{}"}, {someHash + "/VERSION", "1.0"}, {someHash + "/json", "{}"}, {someHash + "/layer.tar", ""}, {"manifest.json", "[]"},
	}, "as docker save writes it"},
	"podman save":      {[][2]string{{someHash + ".tar", ""}, {someHash + ".json", "{}"}, {"manifest.json", "[]"}}, "as docker save writes it"},
	"crane":            {[][2]string{{"sha256:" + someHash, "{}"}, {someHash + ".tar.gz", ""}}, "as docker save writes it"},
	"bazel":            {[][2]string{{"0.tar", ""}, {"manifest.json", ` [{"Config":"c.json", "Layers":["0.tar"]}]`}}, "as docker save writes it"},
	"OCI layout":       {[][2]string{{"oci-layout", "{}"}, {"index.json", "{}"}}, "in the OCI layout"},
	"OCI blobs":        {[][2]string{{"index.json", "{}"}, {"blobs/sha512/" + someHash + someHash, "{}"}}, "docker save or the OCI layout"},
	"layer":            {[][2]string{{"bin/sh", "sh"}, {"etc/.wh.passwd", ""}}, "one layer of a container image, not a root file system (it deletes a file of the layers below: /etc/.wh.passwd)"},
	"opaque directory": {[][2]string{{"bin/sh", "sh"}, {"var/lib/.wh..wh..opq", ""}}, "one layer of a container image"},
}

// TestContainersRefused checks that each form is refused as a directory, a tar and a compressed
// tar, with its kind and a remedy.
func TestContainersRefused(t *testing.T) {
	needs(t, "mksquashfs")
	for name, c := range containers {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var plain, zipped bytes.Buffer
			w := tar.NewWriter(&plain)
			for _, f := range c.files {
				write(t, filepath.Join(dir, "tree", f[0]), f[1], 0o644)
				must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o644}))
				_, err := w.Write([]byte(f[1]))
				must(t, err)
			}
			must(t, w.Close())
			z := gzip.NewWriter(&zipped)
			z.Write(plain.Bytes())
			must(t, z.Close())
			write(t, dir+"/plain", plain.String(), 0o644)
			write(t, dir+"/zipped", zipped.String(), 0o644)
			remedy := "wick run "
			if strings.HasPrefix(c.want, "one layer") {
				remedy = "docker export"
			}
			for _, source := range []string{"tree", "plain", "zipped"} {
				refused(t, filepath.Join(dir, source), c.want, remedy)
			}
		})
	}
}

// refused fails the test unless a source is refused with these words.
func refused(t *testing.T, source string, words ...string) {
	t.Helper()
	store := t.TempDir()
	_, err := Build(t.Context(), cache.Dir(store), runtime.GOARCH, source, initFile(t))
	bad, ok := errors.AsType[*SourceError](err)
	if !ok || bad.Source != source {
		t.Errorf("%s: error %v, want a SourceError of it", source, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q, want %q in it", source, err, w)
		}
	}
	if left, err := os.ReadDir(store); err != nil || len(left) != 0 {
		t.Errorf("the cache holds %v, %v", left, err)
	}
}

// TestOverlayLayerRefused checks that a layer of overlayfs is refused, which marks deleted files by
// device nodes.
func TestOverlayLayerRefused(t *testing.T) {
	needs(t, "mksquashfs")
	needRoot(t)
	dir := t.TempDir()
	write(t, dir+"/etc/hosts", "x", 0o644)
	must(t, unix.Mknod(dir+"/etc/passwd", unix.S_IFCHR, 0))
	refused(t, dir, "one layer of a container image", "/etc/passwd")
}

// TestNoContainer checks that a root is not refused for names like those of a container image.
func TestNoContainer(t *testing.T) {
	needs(t, "mksquashfs")
	dir := t.TempDir()
	for _, name := range []string{
		"srv/registry/blobs/sha256/" + someHash, "srv/oci-layout", "srv/manifest.json", "index.json", "repositories",
		"blobs/sha256/readme", "etc/x.wh.y", "config.json", "json", someHash[:40] + ".json",
	} {
		write(t, filepath.Join(dir, name), "{}", 0o644)
	}
	write(t, dir+"/manifest.json", `{"name": "an app", "Layers": 3}`, 0o644)
	root := built(t, dir)
	if content, err := os.ReadFile(unpacked(t, root.Path) + "/manifest.json"); err != nil || string(content) != `{"name": "an app", "Layers": 3}` {
		t.Errorf("/manifest.json holds %q, %v", content, err)
	}
}

// TestOtherSources checks that a file of another kind is refused with its kind and a remedy.
func TestOtherSources(t *testing.T) {
	ext4 := make([]byte, 4096)
	copy(ext4[1080:], "\x53\xef")
	iso := make([]byte, 40<<10)
	copy(iso[32769:], "CD001")
	disk := make([]byte, 1<<20)
	copy(disk[510:], "\x55\xaa")
	for want, content := range map[string]string{
		"qcow2":       "QFI\xfb...",
		"zip archive": "PK\x03\x04", "cpio": "070701...", "--kernel": "\x7fELF", "an ext4": string(ext4), "CD image": string(iso),
		"disk image": string(disk), "neither": "hello", "nor a squashfs": "",
	} {
		path := filepath.Join(t.TempDir(), "source")
		write(t, path, content, 0o644)
		refused(t, path, want)
	}
}
