package guesttest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
)

// layerFile is a file of a layer. target is that of a hard link.
type layerFile struct {
	name, content, target string
	mode                  int64
}

// saved writes an image as docker save does, and returns its source.
func saved(t *testing.T, config v1.Config, layers ...[]layerFile) string {
	t.Helper()
	img := empty.Image
	for _, files := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range files {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))}
			if f.target != "" {
				h.Typeflag, h.Linkname = tar.TypeLink, f.target
			}
			err := w.WriteHeader(h)
			if err == nil {
				_, err = io.WriteString(w, f.content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		err := w.Close()
		if err == nil {
			img, err = mutate.AppendLayers(img, static.NewLayer(b.Bytes(), types.DockerUncompressedLayer))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file, err := img.ConfigFile()
	if err == nil {
		file = file.DeepCopy()
		file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
		img, err = mutate.ConfigFile(img, file)
	}
	tag, bad := name.NewTag("test:latest")
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := errors.Join(err, bad, tarball.WriteToFile(path, tag, img)); err != nil {
		t.Fatal(err)
	}
	return "docker-archive:" + path
}

// TestRunImage runs container images by wick run. One has a configuration, and a new volume gets
// the files that it hides. The other is a single program whose configuration the flags replace, and
// which can write to its volumes alone.
func TestRunImage(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	wick, err := machinetest.Program(deadline(t, bootLimit), runtime.GOARCH, "wick/cmd/wick")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, init := filepath.Join(dir, "wick"), filepath.Join(dir, "vm-init")
	path, err := image.Busybox(t.Context(), l.Store, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(program, wick, 0o755), os.WriteFile(init, l.init, 0o755)); err != nil {
		t.Fatal(err)
	}
	box := layerFile{"bin/busybox", string(busybox), "", 0o755}
	for _, tt := range []struct {
		source string
		flags  []string
		args   []string
		code   int
		want   string
	}{
		{
			saved(t, v1.Config{
				Env: []string{"PATH=/bin", "A=image", "B=image"}, User: "web:daemon", WorkingDir: "/srv/app", Volumes: map[string]struct{}{"/data": {}},
				Entrypoint: []string{"sh", "-c", `echo "$0 $1 $A $B $C"; id -u; id -g; pwd; busybox stat -c "%h %a" /bin/sh /bin/su; busybox ls -d /data /gone /dir/* 2>&1; exit 7`}, Cmd: []string{"by", "default"},
			}, []layerFile{
				box, {"bin/sh", "", "bin/busybox", 0o755}, {"bin/id", "", "bin/busybox", 0o755}, {"bin/su", "su", "", 0o4755},
				{"gone", "", "", 0o644}, {"dir/old", "", "", 0o644}, {"etc/passwd", "web:x:1000:1001::/srv:/bin/sh\n", "", 0o644}, {"etc/group", "daemon:x:42:\n", "", 0o644},
			}, []layerFile{{".wh.gone", "", "", 0}, {"dir/.wh..wh..opq", "", "", 0}, {"dir/new", "", "", 0o644}}),
			[]string{"-e", "B=flag", "-e", "C", "-e", "UNSET", "-v", "new:/dir"}, nil, 7,
			"by default image flag host\n1000\n42\n/srv/app\n3 755\n1 4755\nls: /gone: No such file or directory\n/data\n/dir/new\n",
		},
		{
			saved(t, v1.Config{Entrypoint: []string{"/nowhere"}, Cmd: []string{"dropped"}, User: "web", Volumes: map[string]struct{}{"/data": {}}}, []layerFile{box}),
			[]string{"-u", "0", "--workdir", "/new/dir", "--read-only", "-v", "/more", "--entrypoint", "/bin/busybox"},
			[]string{"sh", "-c", `busybox touch /data/x /more/x; busybox ls /data /more; busybox touch /x 2>/dev/null; busybox pwd; echo "$PATH"; exec "$@"`, "sh", "/bin/busybox", "id", "-u"}, 0,
			"/data:\nx\n\n/more:\nx\n/new/dir\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n0\n",
		},
	} {
		slots <- struct{}{}
		args := append(append([]string{"run", "--tmpfs", "--init", init}, tt.flags...), tt.source)
		cmd := exec.CommandContext(deadline(t, bootLimit), program, append(args, tt.args...)...)
		cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "C=host", "XDG_STATE_HOME="+filepath.Join(dir, "state"))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, _ := cmd.Output()
		<-slots
		if code := cmd.ProcessState.ExitCode(); code != tt.code || string(out) != tt.want {
			t.Errorf("wick run = %d, %q, want %d, %q; it says %s", code, out, tt.code, tt.want, fmt.Sprint(&errs))
		}
		if strings.Contains(errs.String(), "did not shut down") {
			t.Errorf("it says %s", &errs)
		}
	}
}
