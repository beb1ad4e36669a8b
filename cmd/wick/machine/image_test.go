package machine

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
)

// saved writes an image with a busybox as docker save does, and returns its path.
func saved(t *testing.T, config v1.Config) string {
	t.Helper()
	store, err := cache.Default()
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := image.Busybox(testContext(t), store, runtime.GOARCH)
	machinetest.Need(t, err)
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/sh", Typeflag: tar.TypeLink, Linkname: "bin/busybox"},
		{Name: "srv/app/", Typeflag: tar.TypeDir, Mode: 0o755},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write(program[:h.Size])
	}
	w.Close()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err == nil {
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{
			OS: "linux", Architecture: runtime.GOARCH, Config: config,
			RootFS: rootOf(t, img),
		})
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err == nil {
		err = tarball.WriteToFile(path, name.MustParseReference("embedded:1").(name.Tag), img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func rootOf(t *testing.T, img v1.Image) v1.RootFS {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return file.RootFS
}

// TestImageCommand runs the command of a container image, and others with its environment.
func TestImageCommand(t *testing.T) {
	t.Parallel()
	c := bootable(t)
	c.Tmpfs = true
	c.Image = "docker-archive:" + saved(t, v1.Config{
		Entrypoint: []string{"sh", "-c"}, Cmd: []string{"echo $GREETING from $PWD by $(busybox id -u)"},
		Env: []string{"GREETING=hello"}, WorkingDir: "/srv/app", User: "1000",
	})
	m := boot(t, c)
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "hello from /srv/app by 1000"},
		{[]string{"echo given $GREETING"}, "given hello"},
	} {
		out, err := m.Command(test.args...).Output(testContext(t))
		if got := strings.TrimSpace(string(out)); got != test.want || err != nil {
			t.Errorf("Command(%q) says %q, %v, want %q", test.args, got, err, test.want)
		}
	}
	short := bootable(t)
	short.Image = "docker-archive:" + filepath.Join(t.TempDir(), "missing.tar")
	if m, err := Boot(testContext(t), short); err == nil {
		m.Kill()
		t.Error("Boot of a missing image: no error")
	}
}
