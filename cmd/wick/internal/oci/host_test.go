package oci

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// host is a registry in this process. before sees each request of a blob, and reports whether it
// has answered.
type host struct {
	*httptest.Server
	inner  http.Handler
	before func(w http.ResponseWriter, r *http.Request) bool
	blobs  atomic.Int32 // requests of blobs
}

func serve(t *testing.T, start func(http.Handler) *httptest.Server) *host {
	t.Helper()
	h := &host{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	h.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			h.blobs.Add(1)
			if h.before != nil && h.before(w, r) {
				return
			}
		}
		h.inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

// noise returns n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// made returns an image with these layers.
func made(t *testing.T, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	for _, content := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err == nil {
			img, err = mutate.AppendLayers(img, l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Labels = map[string]string{"a": "b"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// push pushes an image and returns its source.
func (h *host) push(t *testing.T, repo string, img v1.Image, options ...remote.Option) *Source {
	t.Helper()
	text := strings.TrimPrefix(strings.TrimPrefix(h.URL, "http://"), "https://") + "/" + repo
	ref, err := name.ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, options...); err != nil {
		t.Fatal(err)
	}
	if transport, ok := remote.DefaultTransport.(*http.Transport); ok {
		t.Cleanup(transport.CloseIdleConnections)
	}
	h.blobs.Store(0)
	return source(t, text)
}

func source(t *testing.T, text string) *Source {
	t.Helper()
	src, err := ParseSource(text)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
