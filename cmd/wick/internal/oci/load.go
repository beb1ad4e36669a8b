package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Load puts the images of an archive into the cache, under the names that the archive gives them.
// It is one of docker save or of an OCI layout, compressed or not. It calls loaded for each name.
func (s *Store) Load(ctx context.Context, file string, p v1.Platform, loaded func(*Record)) error {
	keep := func(img v1.Image, raw bool, text string) error {
		r, err := s.keep(ctx, img, raw, text)
		if err == nil {
			loaded(r)
		}
		return err
	}
	r, err := openTar(file)
	if err != nil {
		return err
	}
	r.Close()
	list, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return openTar(file) })
	if err == nil {
		return loadSaved(file, list, keep)
	}
	layout := inArchive(file)
	index, other := layout.index()
	if other != nil {
		return fmt.Errorf("neither an archive of docker save nor of an OCI layout: %w", err)
	}
	named := false
	for i := range index.Manifests {
		d := &index.Manifests[i]
		text := nameOf(d)
		if text == "" {
			continue
		}
		named = true
		img, err := layout.named(d, p)
		if err == nil {
			err = keep(img, true, text)
		}
		if err != nil {
			return fmt.Errorf("image %s: %w", text, err)
		}
	}
	if !named {
		return errors.New("the archive names no image; wick run oci-archive:FILE runs it as it is")
	}
	return nil
}

// loadSaved loads the images of an archive of docker save.
func loadSaved(file string, list tarball.Manifest, keep func(v1.Image, bool, string) error) error {
	named := false
	for _, d := range list {
		for _, text := range d.RepoTags {
			named = true
			tag, err := name.NewTag(text)
			if err != nil {
				return fmt.Errorf("image %q: not a name", text)
			}
			img, err := tarball.Image(func() (io.ReadCloser, error) { return openTar(file) }, &tag)
			if err == nil {
				err = keep(img, false, text)
			}
			if err != nil {
				return fmt.Errorf("image %s: %w", text, err)
			}
		}
	}
	if !named {
		return errors.New("the archive names no image; wick run docker-archive:FILE runs it as it is")
	}
	return nil
}

// nameOf returns the name that a layout gives to an image, or "". A tag alone is no name.
func nameOf(d *v1.Descriptor) string {
	if text := d.Annotations[fullName]; text != "" {
		return text
	}
	if text := d.Annotations[refName]; strings.ContainsAny(text, "/:") {
		return text
	}
	return ""
}

// named returns the image of a descriptor, for the platform if it is an index.
func (f files) named(d *v1.Descriptor, p v1.Platform) (v1.Image, error) {
	d, err := f.choose([]v1.Descriptor{*d}, p, "")
	if err != nil {
		return nil, err
	}
	return f.image(d)
}

// keep puts an image into the cache: its layers, and a record with its name. With raw the image has
// a manifest of its own.
func (s *Store) keep(ctx context.Context, img v1.Image, raw bool, text string) (*Record, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return nil, errors.New("not a name of an image")
	}
	r := &Record{Name: ref.Name(), Pulled: time.Now().UTC().Truncate(time.Second)}
	if r.Config, err = img.RawConfigFile(); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	config := &v1.ConfigFile{}
	if err := json.Unmarshal(r.Config, config); err != nil {
		return nil, fmt.Errorf("parse the configuration: %w", err)
	}
	p := v1.Platform{OS: "linux", Architecture: config.Architecture}
	if p.Architecture == "" {
		p.Architecture = runtime.GOARCH
	}
	r.Platform = p.String()
	if err := checkPlatform(config, p); err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("read the layers: %w", err)
	}
	if err := sameCount(config, len(layers)); err != nil {
		return nil, err
	}
	if raw {
		r.Manifest, err = img.RawManifest()
		for i := 0; i < len(layers) && err == nil; i++ {
			err = s.keepPacked(ctx, layers[i])
		}
	} else {
		r.Manifest, err = s.keepPlain(ctx, layers, r.Config, config)
	}
	if err != nil {
		return nil, err
	}
	r.Digest = digestOf(r.Manifest).String()
	if err := r.parse(); err != nil {
		return nil, err
	}
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	r.entry = recordName(r.Name, r.Platform)
	return r, s.Dir.Put(ctx, r.entry, content)
}

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// keepPacked keeps a layer as it is.
func (s *Store) keepPacked(ctx context.Context, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	return s.keepLayer(ctx, digest, l.Compressed)
}

// keepPlain keeps layers unpacked, whose digests the configuration has. It returns a manifest with
// these layers.
func (s *Store) keepPlain(ctx context.Context, layers []v1.Layer, raw []byte, config *v1.ConfigFile) ([]byte, error) {
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: int64(len(raw)), Digest: digestOf(raw)},
	}
	for i, l := range layers {
		digest := config.RootFS.DiffIDs[i]
		if err := s.keepLayer(ctx, digest, l.Uncompressed); err != nil {
			return nil, err
		}
		info, err := os.Stat(s.path(blobName(digest)))
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: info.Size(), Digest: digest})
	}
	return json.Marshal(m)
}

// keepLayer keeps a layer, and checks its digest.
func (s *Store) keepLayer(ctx context.Context, digest v1.Hash, open func() (io.ReadCloser, error)) error {
	_, err := s.Dir.Get(ctx, blobName(digest), func(ctx context.Context, tmp string) error {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		sum := sha256.New()
		if err := writeFile(tmp, io.TeeReader(&interruptible{ctx: ctx, r: r}, sum)); err != nil {
			return err
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != digest.Hex {
			return &DigestError{"content", digest.String(), "sha256:" + got}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	return nil
}

// Save writes images of the cache as docker save does, which docker load and [Store.Load] take.
func (s *Store) Save(ctx context.Context, sources []*Source, p v1.Platform, w io.Writer) error {
	all := map[name.Reference]v1.Image{}
	for _, src := range sources {
		if !src.Remote() {
			return fmt.Errorf("save %s: not in the cache", src)
		}
		r, err := s.record(ctx, src, p, Never)
		if err != nil {
			return err
		}
		if !s.has(r.manifest.Layers) {
			return fmt.Errorf("layers of %s: %w; wick pull fetches them", src, ErrAbsent)
		}
		m, err := v1.ParseManifest(bytes.NewReader(r.Manifest))
		if err != nil {
			return err
		}
		open := func(h v1.Hash) (io.ReadCloser, error) { return os.Open(s.path(blobName(h))) }
		if all[src.ref], err = newImage(r.Manifest, r.Config, m, open); err != nil {
			return err
		}
	}
	if err := tarball.MultiRefWrite(all, &cancelled{ctx, w}); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// cancelled is a writer that fails when its context ends.
type cancelled struct {
	ctx context.Context
	w   io.Writer
}

func (c *cancelled) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
