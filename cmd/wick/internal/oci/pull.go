package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// parallel is how many layers are fetched at a time.
	parallel = 3
	// tries is how often a layer is asked for. Each goes on where the last was cut.
	tries = 5
	// stallLimit is how long a registry may send nothing.
	stallLimit = time.Minute
	// longestConfig limits a configuration, which is held in memory.
	longestConfig = 16 << 20
	// progressPause is the time between two reports of progress.
	progressPause = 100 * time.Millisecond
)

// Progress says how far a pull is.
type Progress struct {
	Name        string
	Layers, Of  int
	Bytes, Size int64
}

// Pulled says what a pull has fetched. Bytes is 0 if all layers were in the cache.
type Pulled struct {
	Name, Digest string
	Layers       int
	Bytes        int64
}

// remoteRepo is a connection to the registry of a repository.
type remoteRepo struct {
	repo name.Repository
	base *http.Transport
	auth http.RoundTripper
}

// connect logs in to a registry with the credentials of docker's configuration.
func connect(ctx context.Context, repo name.Repository) (*remoteRepo, error) {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return nil, fmt.Errorf("find the credentials for %s: %w", repo.RegistryStr(), err)
	}
	r := &remoteRepo{repo: repo, base: remote.DefaultTransport.(*http.Transport).Clone()}
	r.base.ResponseHeaderTimeout = stallLimit
	r.auth, err = transport.NewWithContext(ctx, repo.Registry, auth, transport.NewRetry(r.base), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *remoteRepo) close() { r.base.CloseIdleConnections() }

// resolve asks the registry which image a name has.
func (s *Store) resolve(ctx context.Context, src *Source, p v1.Platform) (*Record, error) {
	reg, err := connect(ctx, src.ref.Context())
	if err != nil {
		return nil, err
	}
	defer reg.close()
	desc, err := remote.Get(src.ref, remote.WithContext(ctx), remote.WithTransport(reg.auth), remote.WithPlatform(p))
	if err != nil {
		return nil, err
	}
	img, err := desc.Image()
	if err != nil {
		return nil, err
	}
	r := &Record{Name: src.ref.Name(), Platform: p.String(), Pulled: time.Now().UTC().Truncate(time.Second)}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if m.Config.Size > longestConfig {
		return nil, fmt.Errorf("not a container image: its configuration has %d bytes", m.Config.Size)
	}
	if !m.Config.MediaType.IsConfig() {
		return nil, fmt.Errorf("not a container image: its configuration is of the type %q", m.Config.MediaType)
	}
	digest, err := img.Digest()
	if err == nil {
		r.Digest = digest.String()
		r.Manifest, err = img.RawManifest()
	}
	if err == nil {
		r.Config, err = img.RawConfigFile()
	}
	if err == nil {
		err = r.parse()
	}
	return r, err
}

// Fetch fetches the layers that are not in the cache.
func (i *Image) Fetch(ctx context.Context) error {
	if i.fetch == nil {
		return nil
	}
	return i.fetch(ctx)
}

// pull is the fetching of an image's layers.
type pull struct {
	mu       sync.Mutex
	report   func(Progress)
	reported time.Time
	p        Progress
	fetched  int64
	layers   int
}

// got counts bytes and layers, and reports them. n is negative if bytes have to be fetched again.
func (p *pull) got(n int64, layers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.Bytes += n
	p.p.Layers += layers
	if p.report != nil && (layers > 0 || time.Since(p.reported) > progressPause) {
		p.reported = time.Now()
		p.report(p.p)
	}
}

// fetch fetches the layers of a record that are not in the cache, some at a time.
func (s *Store) fetch(ctx context.Context, src *Source, r *Record) error {
	if s.has(r.manifest.Layers) {
		return nil
	}
	reg, err := connect(ctx, src.ref.Context())
	if err != nil {
		return fmt.Errorf("pull %s: %w", src, err)
	}
	defer reg.close()
	p := &pull{report: s.Progress, p: Progress{Name: src.String()}}
	layers := map[v1.Hash]v1.Descriptor{}
	for _, l := range r.manifest.Layers {
		layers[l.Digest] = l // an image may have one layer twice
	}
	p.p.Of = len(layers)
	for _, l := range layers {
		p.p.Size += l.Size
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for _, l := range r.manifest.Layers { // in their order, because a merge reads the lowest first
		if _, ok := layers[l.Digest]; !ok {
			continue
		}
		delete(layers, l.Digest)
		all.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			if err := s.fetchLayer(ctx, reg, l, p); err != nil {
				cancel(err) // the first error is the cause
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("pull %s: %w", src, context.Cause(ctx))
	}
	if s.Pulled != nil {
		s.Pulled(Pulled{src.String(), r.Digest, p.layers, p.fetched})
	}
	return nil
}

// fetchLayer fetches one layer into the cache, unless it is there.
func (s *Store) fetchLayer(ctx context.Context, reg *remoteRepo, l v1.Descriptor, p *pull) error {
	made := false
	_, err := s.Dir.Get(ctx, blobName(l.Digest), func(ctx context.Context, tmp string) error {
		made = true
		f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		d := &download{reg: reg, layer: l, file: f, sum: sha256.New(), got: func(n int64) { p.got(n, 0) }}
		return errors.Join(d.run(ctx), f.Close())
	})
	switch {
	case err != nil:
		return fmt.Errorf("layer %s: %w", l.Digest, err)
	case made:
		p.mu.Lock()
		p.fetched += l.Size
		p.layers++
		p.mu.Unlock()
		p.got(0, 1)
	default:
		p.got(l.Size, 1)
	}
	return nil
}

// download is the fetching of one layer.
type download struct {
	reg   *remoteRepo
	layer v1.Descriptor
	file  *os.File
	sum   hash.Hash
	at    int64
	got   func(n int64)
}

// run fetches the layer, and goes on where a connection was cut.
func (d *download) run(ctx context.Context) error {
	for try := 1; ; try++ {
		err := d.once(ctx)
		cut, ok := errors.AsType[*cutError](err)
		if !ok || ctx.Err() != nil {
			return err
		}
		if try == tries {
			return fmt.Errorf("cut %d times, the last time after %d of %d bytes: %w", tries, d.at, d.layer.Size, cut.err)
		}
		select {
		case <-time.After(progressPause << try):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A cutError reports a connection that ended early.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }

// errStalled is the cause when a registry sends nothing for stallLimit.
var errStalled = errors.New("the registry sends nothing")

// once asks for the rest of the layer, and returns a cutError if it does not get it.
func (d *download) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallLimit, func() { cancel(errStalled) })
	defer stalled.Stop()
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", d.reg.repo.Scheme(), d.reg.repo.RegistryStr(), d.reg.repo.RepositoryStr(), d.layer.Digest)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if d.at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", d.at, d.layer.Size-1))
	}
	resp, err := (&http.Client{Transport: d.reg.auth}).Do(req)
	if err != nil {
		return &cutError{err}
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		return err
	}
	if d.at > 0 && resp.StatusCode == http.StatusOK { // it sends everything again
		if err := d.restart(); err != nil {
			return err
		}
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buffer)
		stalled.Reset(stallLimit)
		if d.at+int64(n) > d.layer.Size {
			return fmt.Errorf("longer than the %d bytes of its manifest", d.layer.Size)
		}
		if _, err := d.file.Write(buffer[:n]); err != nil {
			return err
		}
		d.sum.Write(buffer[:n])
		d.at += int64(n)
		d.got(int64(n))
		switch {
		case errors.Is(err, io.EOF) && d.at == d.layer.Size:
			if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.layer.Digest.Hex {
				return &DigestError{"fetched", d.layer.Digest.String(), "sha256:" + got}
			}
			return nil
		case errors.Is(err, io.EOF):
			return &cutError{io.ErrUnexpectedEOF}
		case err != nil && context.Cause(ctx) != nil:
			return &cutError{context.Cause(ctx)}
		case err != nil:
			return &cutError{err}
		}
	}
}

// restart drops what was fetched.
func (d *download) restart() error {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	d.got(-d.at)
	d.at = 0
	d.sum.Reset()
	return nil
}
