package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/cache"
	"wick/framing/client"
)

// odd returns a layer with files that need more than a name and a content.
func odd(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: "bin/ping", Mode: 0o4755, Uid: 70000, Gid: 4000000000, Size: 4, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability":    "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			"SCHILY.xattr.user.a":                 "b",
			"SCHILY.xattr.trusted.overlay.opaque": "y",
		}},
		{Typeflag: tar.TypeLink, Name: "bin/ping6", Linkname: "bin/ping"},
		{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Devmajor: 8, Devminor: 1},
		{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600},
		{Typeflag: tar.TypeSymlink, Name: "long", Linkname: "../" + strings.Repeat("x/", 200)},
		{Typeflag: tar.TypeReg, Name: strings.Repeat("name/", 40) + "é", Mode: 0o644},
	} {
		err := w.WriteHeader(&h)
		if h.Size > 0 {
			_, again := io.WriteString(w, "ping")
			err = errors.Join(err, again)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "sparse", Mode: 0o644, Size: 64 << 20}
	err := client.WriteSparse(w, &b, h, []client.Extent{{Offset: 1 << 20, Length: 4}}, func(w io.Writer) error {
		_, err := io.WriteString(w, "data")
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRoot makes root images. Two of the same layers have the same files with the same times, in
// any order of the configuration's volumes. mksquashfs 4.5 does not always arrange them alike.
func TestRoot(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"mksquashfs", "unsquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("it needs squashfs-tools: run scripts/setup")
		}
	}
	init := filepath.Join(t.TempDir(), "vm-init")
	if err := os.WriteFile(init, []byte("init"), 0o755); err != nil {
		t.Fatal(err)
	}
	layers := [][]byte{odd(t), packed(t, e{reg, ".wh.gone", ""}, e{reg, "etc/oci-layout", "1"}, e{reg, "oci-layout", "1"}, e{reg, "manifest.json", `{"Config": 1, "Layers": 2}`})}
	var lists []string
	for range 2 {
		i := ofLayers(layers...)
		i.Config.Config = v1.Config{Volumes: map[string]struct{}{"/data": {}, "/srv/a": {}, "/srv/b": {}}, WorkingDir: "/srv/app"}
		root, err := i.Root(t.Context(), cache.Dir(t.TempDir()), init)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("unsquashfs", "-lln", root.Path).Output()
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, string(out))
		if os.Getuid() == 0 {
			checkAttributes(t, root.Path)
		}
	}
	if lists[0] != lists[1] {
		t.Error("the same layers make two images")
	}
	list := plain(lists[0])
	for _, want := range []string{
		"drwxrwxrwt 0/0 3 tmp", "-rwsr-xr-x 70000/4000000000 4 bin/ping", "-rwsr-xr-x 70000/4000000000 4 bin/ping6", "brw-rw---- 0/0 8, 1 disk", "prw------- 0/0 0 fifo",
		"-rw-r--r-- 0/0 67108864 sparse", "lrwxrwxrwx 0/0 403 long -> ../" + strings.Repeat("x/", 200), "drwxr-xr-x 0/0 3 data", "drwxr-xr-x 0/0 3 srv/app", "drwxr-xr-x 0/0 3 srv/b",
		"-rw-r--r-- 0/0 0 " + strings.Repeat("name/", 40) + "é", "-rwxr-xr-x 0/0 4 sbin/vm-init", "crw-rw-rw- 0/0 1, 3 dev/null", "drwxr-xr-x 0/0 3 proc", "-rw-r--r-- 70000/0 1 oci-layout",
	} {
		if !strings.Contains(list, want+"\n") {
			t.Errorf("the image lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(list)
	}
}

// plain returns the lines of unsquashfs -lln without dates and repeated blanks.
func plain(list string) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		before, name, ok := strings.Cut(line, "squashfs-root/")
		fields := strings.Fields(before)
		if !ok || len(fields) < 4 {
			continue
		}
		b.WriteString(strings.Join(fields[:len(fields)-2], " ") + " " + name)
	}
	return b.String()
}

// checkAttributes unpacks an image and checks the attributes of a file in it.
func checkAttributes(t *testing.T, image string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	if out, err := exec.Command("unsquashfs", "-no-progress", "-d", to, image, "bin/ping").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	value := make([]byte, 100)
	for name, want := range map[string]error{"security.capability": nil, "user.a": nil, "trusted.overlay.opaque": unix.ENODATA} {
		if _, err := unix.Lgetxattr(to+"/bin/ping", name, value); !errors.Is(err, want) && !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("the attribute %s: %v, want %v", name, err, want)
		}
	}
}
