package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wick/cmd/wick/internal/archive"
)

// The annotations of an OCI layout with an image's tag, and with its full name.
const (
	refName  = "org.opencontainers.image.ref.name"
	fullName = "io.containerd.image.name"
)

// files opens the files of an OCI layout by their names.
type files func(name string) (io.ReadCloser, error)

// inDir returns the files of a directory.
func inDir(dir string) files {
	return func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, name)) }
}

// inArchive returns the files of a tar, compressed or not.
func inArchive(file string) files {
	return func(name string) (io.ReadCloser, error) {
		r, err := openTar(file)
		if err != nil {
			return nil, err
		}
		in := tar.NewReader(r)
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				err = &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
			} else if err != nil {
				err = fmt.Errorf("read the archive: %w", err)
			}
			if err != nil {
				r.Close()
				return nil, err
			}
			if path.Clean(h.Name) == name && h.Typeflag == tar.TypeReg {
				return readCloser{in, r}, nil
			}
		}
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// openTar opens a tar, compressed or not. One that is not compressed can be sought in.
func openTar(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "read", Path: file, Err: errors.New("a directory; oci:DIR is for an OCI layout")}
	}
	head := make([]byte, 6)
	if err == nil {
		_, err = io.ReadFull(f, head)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%s: too short for an archive", file)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && archive.Compression(head) == "" {
		return f, nil
	}
	if err == nil {
		var r io.Reader
		if r, err = archive.Decompress(f); err == nil {
			return readCloser{r, f}, nil
		}
	}
	f.Close()
	return nil, err
}

// index reads the index of a layout.
func (f files) index() (*v1.IndexManifest, error) {
	r, err := f("index.json")
	if err != nil {
		return nil, fmt.Errorf("not an OCI layout: %w", err)
	}
	defer r.Close()
	list, err := v1.ParseIndexManifest(io.LimitReader(r, longestConfig))
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return list, nil
}

// blob opens a blob.
func (f files) blob(h v1.Hash) (io.ReadCloser, error) {
	return f("blobs/" + h.Algorithm + "/" + h.Hex)
}

// read reads a small blob, and checks its digest.
func (f files) read(h v1.Hash) ([]byte, error) {
	r, err := f.blob(h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, longestConfig))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", h, err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != h.Hex {
		return nil, &DigestError{"blob", h.String(), "sha256:" + hex.EncodeToString(sum[:])}
	}
	return b, nil
}

// names reports whether a descriptor has a tag, which may be its full name.
func names(d *v1.Descriptor, tag string) bool {
	if d.Annotations[refName] == tag || d.Annotations[fullName] == tag {
		return true
	}
	want, err := name.ParseReference(tag)
	if err != nil || !strings.ContainsAny(tag, "/:") {
		return false
	}
	for _, text := range []string{d.Annotations[refName], d.Annotations[fullName]} {
		if ref, err := name.ParseReference(text); err == nil && ref.Name() == want.Name() {
			return true
		}
	}
	return false
}

// find returns the image with a tag, or the only one if the tag is "".
func (f files) find(tag string, p v1.Platform) (v1.Image, error) {
	list, err := f.index()
	if err != nil {
		return nil, err
	}
	var tags []string
	found := slices.DeleteFunc(slices.Clone(list.Manifests), func(d v1.Descriptor) bool {
		if t := d.Annotations[refName]; t != "" && !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
		return tag != "" && !names(&d, tag)
	})
	if tag != "" && len(found) == 0 {
		return nil, fmt.Errorf("it has no image of the tag %q; %s", tag, thereAre(tags))
	}
	d, err := f.choose(found, p, thereAre(tags))
	if err != nil {
		return nil, err
	}
	return f.image(d)
}

// thereAre lists what a user can choose from.
func thereAre(list []string) string {
	if len(list) == 0 {
		return "it has no tags"
	}
	return "it has " + strings.Join(list, ", ")
}

// choose returns the image for the platform among manifests. choice says what tags there are.
func (f files) choose(found []v1.Descriptor, p v1.Platform, choice string) (*v1.Descriptor, error) {
	if len(found) > 1 {
		var fit []v1.Descriptor
		var has []string
		for _, d := range found {
			if d.Platform != nil && d.Platform.Satisfies(p) {
				fit = append(fit, d)
			} else if d.Platform != nil && d.Platform.OS != "unknown" {
				has = append(has, d.Platform.String())
			}
		}
		if len(fit) == 0 && len(has) == 0 || len(fit) > 1 {
			return nil, errors.New("it has several images; name the tag of one: " + choice)
		}
		if len(fit) == 0 {
			return nil, fmt.Errorf("it has no image for %s; %s", p, thereAre(has))
		}
		found = fit
	}
	if len(found) == 0 {
		return nil, errors.New("it has no image")
	}
	d := &found[0]
	if !d.MediaType.IsIndex() {
		return d, nil
	}
	text, err := f.read(d.Digest)
	if err != nil {
		return nil, err
	}
	inner := &v1.IndexManifest{}
	if err := json.Unmarshal(text, inner); err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return f.choose(inner.Manifests, p, choice)
}

// image returns the image of a manifest.
func (f files) image(d *v1.Descriptor) (v1.Image, error) {
	text, err := f.read(d.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	config, err := f.read(m.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return newImage(text, config, m, f.blob)
}

// stored is an image whose manifest and configuration are known. open opens a layer.
type stored struct {
	raw, config []byte
	manifest    *v1.Manifest
	open        func(v1.Hash) (io.ReadCloser, error)
}

func newImage(raw, config []byte, m *v1.Manifest, open func(v1.Hash) (io.ReadCloser, error)) (v1.Image, error) {
	return partial.CompressedToImage(&stored{raw, config, m, open})
}

// RawManifest implements [partial.CompressedImageCore], as the other methods do.
func (s *stored) RawManifest() ([]byte, error) { return s.raw, nil }

// RawConfigFile returns the configuration.
func (s *stored) RawConfigFile() ([]byte, error) { return s.config, nil }

// MediaType returns the type of the manifest.
func (s *stored) MediaType() (types.MediaType, error) {
	if s.manifest.MediaType == "" {
		return types.OCIManifestSchema1, nil
	}
	return s.manifest.MediaType, nil
}

// LayerByDigest returns a layer.
func (s *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for i := range s.manifest.Layers {
		if l := &s.manifest.Layers[i]; l.Digest == h {
			return &storedLayer{l, s.open}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: not in the manifest", h)
}

// storedLayer is a layer of a stored image. Its methods are those of [partial.CompressedLayer].
type storedLayer struct {
	*v1.Descriptor
	open func(v1.Hash) (io.ReadCloser, error)
}

// Digest returns the digest of the layer as it is stored.
func (l *storedLayer) Digest() (v1.Hash, error) { return l.Descriptor.Digest, nil }

// Size returns its size.
func (l *storedLayer) Size() (int64, error) { return l.Descriptor.Size, nil }

// MediaType returns its type.
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.Descriptor.MediaType, nil }

// Compressed opens it.
func (l *storedLayer) Compressed() (io.ReadCloser, error) { return l.open(l.Descriptor.Digest) }
