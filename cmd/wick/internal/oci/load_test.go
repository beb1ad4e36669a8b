package oci

import (
	"bytes"
	"errors"
	"net"
	"net/http"
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

// savedAs writes an archive of docker save.
func savedAs(t *testing.T, text string, img v1.Image) string {
	t.Helper()
	tag, err := name.NewTag(text)
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := errors.Join(err, tarball.WriteToFile(file, tag, img)); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLoadAndSave loads images from archives of both forms, and saves them for another cache.
func TestLoadAndSave(t *testing.T) {
	t.Parallel()
	one, two := made(t, "amd64", packed(t, e{reg, "f", "1"})), made(t, "amd64", packed(t, e{reg, "f", "2"}))
	dir := t.TempDir()
	path, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err == nil {
		err = path.AppendImage(two, layout.WithAnnotations(map[string]string{fullName: "docker.io/library/two:v2", refName: "v2"}))
	}
	if err == nil {
		err = path.AppendImage(one, layout.WithAnnotations(map[string]string{refName: "bare"}))
	}
	if err := errors.Join(err, packDir(filepath.Join(dir, "layout"), filepath.Join(dir, "layout.tar"))); err != nil {
		t.Fatal(err)
	}
	load := func(s *Store, file string) (names []string) {
		t.Helper()
		if err := s.Load(t.Context(), file, amd64, func(r *Record) { names = append(names, r.String()+" "+r.Platform) }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	first, second := &Store{Dir: cache.Dir(t.TempDir())}, &Store{Dir: cache.Dir(t.TempDir())}
	if got := load(first, savedAs(t, "one:v1", one)); len(got) != 1 || got[0] != "one:v1 linux/amd64" {
		t.Errorf("loaded %q", got)
	}
	if got := load(first, filepath.Join(dir, "layout.tar")); len(got) != 1 || got[0] != "two:v2 linux/amd64" {
		t.Errorf("loaded %q", got)
	}
	var saved bytes.Buffer
	if err := first.Save(t.Context(), []*Source{source(t, "one:v1"), source(t, "two:v2")}, amd64, &saved); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "saved.tar")
	if err := os.WriteFile(file, saved.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := load(second, file); len(got) != 2 {
		t.Errorf("loaded %q", got)
	}
	for i, s := range []*Store{first, second} {
		for text, want := range map[string]string{"one:v1": "f: 1", "two:v2": "f: 2"} {
			img, err := s.Open(t.Context(), source(t, text), amd64, Never)
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, img); len(got) != 1 || got[0] != want {
				t.Errorf("cache %d: %s has %v, want %s", i, text, got, want)
			}
		}
	}
	if err := first.Save(t.Context(), []*Source{source(t, "none")}, amd64, &saved); !errors.Is(err, ErrAbsent) {
		t.Errorf("Save of an image that is not there: %v", err)
	}
}

// TestLoadRefuses has archives that cannot be loaded, and one whose content is damaged.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	s := &Store{Dir: cache.Dir(t.TempDir())}
	good := savedAs(t, "one:v1", made(t, "amd64", packed(t, e{reg, "f", noise(100 << 10)})))
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	changed := bytes.Clone(content)
	changed[bytes.Index(content, []byte(noise(100)))+50] ^= 1
	for name, content := range map[string][]byte{"cut": content[:len(content)/2], "changed": changed, "text": []byte(strings.Repeat("text ", 1000))} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{
		dir + "/cut": "unexpected EOF", dir + "/changed": "layer sha256:", dir + "/text": "neither an archive of docker save",
		dir + "/none": "no such file", dir: "a directory",
	} {
		err := s.Load(t.Context(), file, amd64, func(r *Record) { t.Errorf("%s: loaded %s", file, r) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s): %v, want %q in it", file, err, want)
		}
	}
	if all, err := s.Records(); err != nil || len(all) > 0 {
		t.Errorf("Records() = %v, %v", all, err)
	}
}

// TestDaemon gets an image from a docker daemon once, and passes on what the daemon says.
func TestDaemon(t *testing.T) {
	t.Parallel()
	file := savedAs(t, "one:v1", made(t, "amd64", packed(t, e{reg, "f", "1"})))
	socket := filepath.Join(t.TempDir(), "docker.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	saves := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/images/one:v1/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"Id": "sha256:` + strings.Repeat("a", 64) + `"}`))
	})
	mux.HandleFunc("/images/one:v1/get", func(w http.ResponseWriter, r *http.Request) {
		saves++
		http.ServeFile(w, r, file)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"message": "No such image"}`))
	})
	server := &http.Server{Handler: mux}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	dir := cache.Dir(t.TempDir())
	open := func(text string) (*Image, error) {
		d, err := dialDaemon("unix://" + socket)
		if err != nil {
			return nil, err
		}
		defer d.client.CloseIdleConnections()
		return d.open(t.Context(), dir, source(t, text), amd64)
	}
	for range 2 {
		img, err := open("docker-daemon:one:v1")
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(t, img); len(got) != 1 || got[0] != "f: 1" {
			t.Errorf("it has %v", got)
		}
	}
	if saves != 1 {
		t.Errorf("the daemon saved the image %d times, want once", saves)
	}
	if _, err := open("docker-daemon:two"); err == nil || err.Error() != "the docker daemon says: No such image" {
		t.Errorf("an image that is not there: %v", err)
	}
	for host, want := range map[string]string{"unix:///none": "no docker daemon answers at /none", "ssh://host": "use docker save"} {
		d, err := dialDaemon(host)
		if err == nil {
			_, err = d.open(t.Context(), dir, source(t, "docker-daemon:one"), amd64)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DOCKER_HOST=%s: %v, want %q in it", host, err, want)
		}
	}
}
