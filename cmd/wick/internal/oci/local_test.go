package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"wick/cmd/wick/internal/cache"
)

// packDir packs a directory into a tar.
func packDir(dir, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	return errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close())
}

// TestLocal opens archives of docker save, OCI layouts and archives of those.
func TestLocal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := made(t, "amd64", packed(t, e{reg, "f", "1"})), made(t, "amd64", packed(t, e{reg, "f", "2"}))
	tags := map[name.Tag]v1.Image{}
	for text, img := range map[string]v1.Image{"one:v1": one, "two:v2": two} {
		tag, err := name.NewTag(text)
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = img
		if err := tarball.WriteToFile(filepath.Join(dir, text), tag, img); err != nil { // a name with a colon
			t.Fatal(err)
		}
	}
	path, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err == nil {
		err = path.AppendImage(one, layout.WithAnnotations(map[string]string{refName: "v1"}), layout.WithPlatform(amd64))
	}
	if err == nil {
		err = path.AppendImage(two, layout.WithAnnotations(map[string]string{refName: "v2"}), layout.WithPlatform(amd64))
	}
	if err := errors.Join(err, tarball.MultiWriteToFile(filepath.Join(dir, "both"), tags)); err != nil {
		t.Fatal(err)
	}
	if err := packDir(filepath.Join(dir, "layout"), filepath.Join(dir, "layout.tar")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "layout.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(whole)
	z.Close()
	for name, content := range map[string][]byte{"layout.tgz": packed.Bytes(), "cut.tar": whole[:len(whole)/2], "short": {1}} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{Dir: cache.Dir(t.TempDir())}
	for text, want := range map[string]string{
		"oci-archive:" + dir + "/layout.tar:v1": "f: 1", "oci-archive:" + dir + "/layout.tgz:v2": "f: 2",
		"docker-archive:" + dir + "/one:v1": "f: 1", "docker-archive:" + dir + "/both:two:v2": "f: 2",
		"oci:" + dir + "/layout:v1": "f: 1", "oci:" + dir + "/layout:v2": "f: 2",
	} {
		i, err := s.Open(t.Context(), source(t, text), amd64, Never)
		if err != nil {
			t.Errorf("Open(%q): %v", text, err)
			continue
		}
		if got := listing(t, i); len(got) != 1 || got[0] != want {
			t.Errorf("%s has %v, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"docker-archive:" + dir + "/both":       "name one, as docker-archive:FILE:NAME:TAG",
		"docker-archive:" + dir + "/none":       "no such file",
		"docker-archive:" + dir + "/both:x":     "the archive has no image x; it has ",
		"docker-archive:" + dir + "/layout.tar": "use oci-archive:FILE",
		"docker-archive:" + dir + "/layout":     "a directory; oci:DIR is for an OCI layout",
		"docker-archive:" + dir + "/short":      "too short for an archive",
		"oci:" + dir + "/layout":                "name the tag of one: it has v1, v2",
		"oci:" + dir + "/layout:v3":             `it has no image of the tag "v3"; it has v1, v2`,
		"oci:" + dir + "/layout.tar":            "oci-archive:FILE is for an archive",
		"oci:" + dir:                            "not an OCI layout",
		"oci-archive:" + dir + "/both":          "use docker-archive:FILE",
		"oci-archive:" + dir + "/none":          "no such file",
		"oci-archive:" + dir + "/layout":        "a directory; oci:DIR is for an OCI layout",
		"oci-archive:" + dir + "/layout.tar":    "name the tag of one",
		"oci-archive:" + dir + "/cut.tar:v1":    "unexpected EOF",
	} {
		if _, err := s.Open(t.Context(), source(t, text), amd64, Never); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v, want %q in it", text, err, want)
		}
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"alpine": "alpine:latest", "alpine:3.20": "alpine:3.20", "docker.io/library/alpine": "alpine:latest", "me/app" + digest: "me/app" + digest,
		"ghcr.io/o/r:t": "ghcr.io/o/r:t", "localhost:5000/x": "localhost:5000/x:latest", "oci:dir:tag": "oci:dir:tag",
		"docker-daemon:x": "docker-daemon:x", "oci-archive:f.tar:v1": "oci-archive:f.tar:v1",
	} {
		if src, err := ParseSource(text); err != nil || src.String() != want {
			t.Errorf("ParseSource(%q) = %v, %v, want %s", text, src, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a name", "./root": "--rootfs", "/root.tar": "--rootfs", "Alpine": "lower case", "a b": "not a name",
		"docker-daemon:X": "want docker-daemon:NAME", "oci:": "path is missing", "alpine@sha256:12": "not a name",
	} {
		if src, err := ParseSource(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSource(%q) = %v, %v, want %q", text, src, err, want)
		}
	}
}
