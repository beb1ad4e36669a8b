package oci

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"wick/cmd/wick/internal/cache"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

var amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}

// get opens an image and fetches its layers.
func get(ctx context.Context, s *Store, src *Source, policy Policy) (*Image, error) {
	i, err := s.Open(ctx, src, amd64, policy)
	if err == nil {
		err = i.Fetch(ctx)
	}
	return i, err
}

// inCache returns the names in the cache without their hashes, sorted.
func inCache(t *testing.T, s *Store) (kinds []string) {
	t.Helper()
	entries, err := os.ReadDir(string(s.Dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		kind, rest, _ := strings.Cut(entry.Name(), "-")
		kinds = append(kinds, kind+filepath.Ext(rest))
	}
	return kinds
}

// TestPull pulls an image by its tag, from the cache, and after the tag has moved.
func TestPull(t *testing.T) {
	t.Parallel()
	h := serve(t, httptest.NewServer)
	base := packed(t, e{reg, "base", noise(100 << 10)})
	src := h.push(t, "team/app:v1", made(t, "amd64", base, packed(t, e{reg, "f", "1"})))
	var pulled []Pulled
	var last Progress
	s := &Store{Dir: cache.Dir(t.TempDir()), Pulled: func(p Pulled) { pulled = append(pulled, p) }, Progress: func(p Progress) { last = p }}
	if _, err := get(t.Context(), s, src, Never); !errors.Is(err, ErrAbsent) {
		t.Errorf("with the policy never: %v", err)
	}
	first, err := get(t.Context(), s, src, Missing)
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, first); len(got) != 2 || got[1] != "f: 1" {
		t.Errorf("the image has %d entries: %.40q", len(got), got)
	}
	if len(pulled) != 1 || pulled[0].Layers != 2 || last.Layers != 2 || last.Bytes != last.Size {
		t.Errorf("pulled %v, progress %v", pulled, last)
	}
	if got, want := inCache(t, s), []string{"blob", "blob", "image.json"}; !slices.Equal(got, want) {
		t.Errorf("the cache has %v, want %v", got, want)
	}
	asked := h.blobs.Load()
	h.push(t, "team/app:v1", made(t, "amd64", base, packed(t, e{reg, "f", "2"})))
	for _, policy := range []Policy{Never, Missing} {
		if i, err := get(t.Context(), s, src, policy); err != nil || i.id != first.id {
			t.Errorf("with the policy %s: %v", policy, err)
		}
	}
	if n := h.blobs.Load(); n != 0 || asked != 3 {
		t.Errorf("%d blobs were asked for, and %d again", asked, n)
	}
	second, err := get(t.Context(), s, src, Always)
	if err != nil || second.id == first.id {
		t.Fatalf("with the policy always: %v", err)
	}
	if n := h.blobs.Load(); n != 2 {
		t.Errorf("%d blobs were asked for, want the configuration and one layer", n)
	}

	// The layer that is in no image any more goes with the last one that has it.
	all, err := s.Records()
	if err != nil || len(all) != 1 || all[0].Labels()["a"] != "b" {
		t.Fatalf("Records() = %v, %v", all, err)
	}
	byDigest := source(t, src.ref.Context().Name()+"@"+first.Digest)
	if _, err := get(t.Context(), s, byDigest, Missing); err != nil {
		t.Fatal(err)
	}
	if all, err = s.Records(); err != nil || len(all) != 2 {
		t.Fatalf("Records() = %v, %v", all, err)
	}
	for _, r := range all {
		if _, tag := r.Repository(); (tag == "") != strings.Contains(r.Name, "@") || r.Digest != first.Digest && tag == "" {
			t.Errorf("the image %s has the tag %q and the digest %s", r.Name, tag, r.Digest)
		}
	}
	cache.Release() // as if the processes had ended
	if err := s.Remove([]string{src.Text(), "nonsense"}, func(*Record) {}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("Remove of an image and of nonsense: %v", err)
	}
	if got, want := inCache(t, s), []string{"blob", "blob", "image.json"}; !slices.Equal(got, want) {
		t.Errorf("the cache has %v, want %v", got, want)
	}
	if err := s.Remove([]string{first.id[:8]}, func(*Record) {}); err != nil {
		t.Error(err)
	}
	if got := inCache(t, s); len(got) != 0 {
		t.Errorf("the cache has %v", got)
	}
}

// short is a response that is cut after a number of bytes.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(p []byte) (int, error) {
	if len(p) <= s.left {
		s.left -= len(p)
		return s.ResponseWriter.Write(p)
	}
	s.ResponseWriter.Write(p[:s.left])
	s.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// TestPullCut has a registry that cuts each blob, once with ranges, once without, and for ever.
func TestPullCut(t *testing.T) {
	t.Parallel()
	content := packed(t, e{reg, "f", noise(300 << 10)})
	for name, tt := range map[string]struct {
		cuts   int32
		ranges bool
		want   string
	}{
		"resumed": {1, true, ""}, "restarted": {1, false, ""}, "for ever": {1 << 30, false, "cut 5 times, the last time after 102400 of 308"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, httptest.NewServer)
			src := h.push(t, "app", made(t, "amd64", content))
			var cuts, ranges atomic.Int32
			h.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "" {
					ranges.Add(1)
				}
				if !tt.ranges {
					r.Header.Del("Range")
				}
				left := 1 << 30
				if cuts.Load() < tt.cuts {
					left = 100 << 10
				}
				defer func() {
					if failed := recover(); failed != nil {
						cuts.Add(1)
						panic(failed)
					}
				}()
				h.inner.ServeHTTP(&short{w, left}, r)
				return true
			}
			s := &Store{Dir: cache.Dir(t.TempDir())}
			i, err := get(t.Context(), s, src, Missing)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("pull: %v, want %q in it", err, tt.want)
				}
				if got := inCache(t, s); !slices.Equal(got, []string{"image.json"}) {
					t.Errorf("the cache has %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, i); len(got) != 1 || len(got[0]) != 3+300<<10 {
				t.Errorf("the image has %d entries", len(got))
			}
			if cuts.Load() != 1 || ranges.Load() != 1 {
				t.Errorf("it was cut %d times, and asked for %d ranges", cuts.Load(), ranges.Load())
			}
		})
	}
}

// TestPullLies has a registry whose blobs are not those of their digests, and one whose layer is
// not what the configuration says.
func TestPullLies(t *testing.T) {
	t.Parallel()
	h := serve(t, httptest.NewServer)
	content := packed(t, e{reg, "f", noise(10 << 10)})
	src := h.push(t, "app", made(t, "amd64", content))
	for name, tt := range map[string]struct {
		change func(size int) int
		want   string
	}{
		"another content": {func(n int) int { return n }, "the content is another one (sha256:"},
		"longer":          {func(n int) int { return n + 1 }, "longer than the "},
	} {
		h.before = func(w http.ResponseWriter, r *http.Request) bool {
			rec := httptest.NewRecorder()
			h.inner.ServeHTTP(rec, r)
			if rec.Body.Len() < 5000 {
				w.Write(rec.Body.Bytes()) // the configuration
				return true
			}
			w.Write(make([]byte, tt.change(rec.Body.Len())))
			return true
		}
		s := &Store{Dir: cache.Dir(t.TempDir())}
		if _, err := get(t.Context(), s, src, Missing); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tt.want)
		}
		if got := inCache(t, s); !slices.Equal(got, []string{"image.json"}) {
			t.Errorf("%s: the cache has %v", name, got)
		}
	}

	// The cache's own copy is damaged later. The next run fetches it again.
	h.before = nil
	s := &Store{Dir: cache.Dir(t.TempDir())}
	i, err := get(t.Context(), s, src, Missing)
	if err != nil {
		t.Fatal(err)
	}
	blobs, _ := filepath.Glob(s.path("blob-*"))
	if err := os.WriteFile(blobs[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.pack(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "read layer 1: ") {
		t.Errorf("with a damaged layer: %v", err)
	}
	if i, err = get(t.Context(), s, src, Missing); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, i); len(got) != 1 {
		t.Errorf("the image has %d entries", len(got))
	}
}

// TestPullCancelled cancels a pull from a registry that is slow. Nothing of the layer is left.
func TestPullCancelled(t *testing.T) {
	t.Parallel()
	h := serve(t, httptest.NewServer)
	src := h.push(t, "app", made(t, "amd64", packed(t, e{reg, "f", noise(300 << 10)})))
	slow := make(chan struct{}, 1)
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		rec := httptest.NewRecorder()
		h.inner.ServeHTTP(rec, r)
		if rec.Body.Len() < 5000 {
			w.Write(rec.Body.Bytes()) // the configuration
			return true
		}
		w.Write(rec.Body.Bytes()[:100<<10])
		w.(http.Flusher).Flush()
		slow <- struct{}{}
		<-r.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-slow
		cancel()
	}()
	s := &Store{Dir: cache.Dir(t.TempDir())}
	if _, err := get(ctx, s, src, Missing); !errors.Is(err, context.Canceled) {
		t.Errorf("a pull that is cancelled: %v", err)
	}
	if got := inCache(t, s); !slices.Equal(got, []string{"image.json"}) {
		t.Errorf("the cache has %v", got)
	}
}

// TestPullTwice has two processes pull one image. Each layer is fetched once. At most 3 are fetched
// at a time.
func TestPullTwice(t *testing.T) {
	t.Parallel()
	h := serve(t, httptest.NewServer)
	var layers [][]byte
	for i := range 8 {
		layers = append(layers, packed(t, e{reg, fmt.Sprint("f", i), noise(1000 + i)}))
	}
	src := h.push(t, "app", made(t, "amd64", layers...))
	var now, most atomic.Int32
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		h.inner.ServeHTTP(w, r)
		return true
	}
	store := cache.Dir(t.TempDir())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, err := get(t.Context(), &Store{Dir: store}, src, Missing); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n := h.blobs.Load(); n > 8+2 || n < 8+1 {
		t.Errorf("%d blobs were asked for, want 8 layers, and a configuration for each process", n)
	}
	if n := most.Load(); n > 2*parallel {
		t.Errorf("%d blobs were asked for at a time, want at most %d of each process", n, parallel)
	}
}

// TestPullPlatform pulls an index of two platforms, and an image for another architecture.
func TestPullPlatform(t *testing.T) {
	t.Parallel()
	h := serve(t, httptest.NewServer)
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: made(t, arch, packed(t, e{reg, arch, "1"})), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	src := h.push(t, "one", made(t, "arm64", packed(t, e{reg, "f", "1"})))
	many := source(t, src.ref.Context().RegistryStr()+"/many")
	if err := remote.WriteIndex(many.ref, index); err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: cache.Dir(t.TempDir())}
	for _, arch := range []string{"amd64", "arm64"} {
		i, err := s.Open(t.Context(), many, v1.Platform{OS: "linux", Architecture: arch}, Missing)
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(t, i); len(got) != 1 || got[0] != arch+": 1" {
			t.Errorf("the image for %s has %v", arch, got)
		}
	}
	_, err := s.Open(t.Context(), src, amd64, Missing)
	if wrong, ok := errors.AsType[*PlatformError](err); !ok || wrong.Image != "arm64" {
		t.Errorf("an image for arm64 on an amd64: %v", err)
	}
	if _, err := s.Open(t.Context(), many, v1.Platform{OS: "linux", Architecture: "riscv64"}, Missing); err == nil {
		t.Error("an image was found for riscv64")
	}
}

// TestPullPrivate pulls over TLS with a password of docker's configuration, and is refused without.
func TestPullPrivate(t *testing.T) {
	h := serve(t, httptest.NewTLSServer)
	was := remote.DefaultTransport
	trusting := was.(*http.Transport).Clone()
	trusting.TLSClientConfig = &tls.Config{RootCAs: h.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	remote.DefaultTransport = trusting
	t.Cleanup(func() { remote.DefaultTransport = was; trusting.CloseIdleConnections() })
	src := h.push(t, "secret/app", made(t, "amd64", packed(t, e{reg, "f", "1"})))
	inner := h.Config.Handler
	h.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "word" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	s := &Store{Dir: cache.Dir(t.TempDir())}
	if _, err := get(t.Context(), s, src, Missing); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a pull without a password: %v", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte("me:word"))
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, src.ref.Context().RegistryStr(), auth)
	if err := errors.Join(os.Mkdir(filepath.Join(home, ".docker"), 0o700),
		os.WriteFile(filepath.Join(home, ".docker/config.json"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	i, err := get(t.Context(), s, src, Missing)
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, i); len(got) != 1 {
		t.Errorf("the image has %v", got)
	}
}
