package oci

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"wick/cmd/wick/internal/archive"
)

// openLocal opens an archive or a layout.
func openLocal(s *Source, p v1.Platform) (*Image, error) {
	open := openArchive
	if s.form == layoutForm {
		open = openLayout
	}
	img, err := open(s, p)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.text, err)
	}
	i, err := fromImage(s, img, p)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.text, err)
	}
	return i, nil
}

// fromImage returns an image whose layers are read where they are.
func fromImage(s *Source, img v1.Image, p v1.Platform) (*Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if err := checkPlatform(config, p); err != nil {
		return nil, err
	}
	id, err := img.ConfigName()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("read the layers: %w", err)
	}
	if err := sameCount(config, len(layers)); err != nil {
		return nil, err
	}
	i := &Image{Name: s.text, Config: config, id: id.Hex}
	for n, l := range layers {
		i.layers = append(i.layers, layer{diff: config.RootFS.DiffIDs[n].Hex, open: l.Uncompressed})
	}
	return i, nil
}

// sameCount checks that the configuration has a digest for each layer.
func sameCount(config *v1.ConfigFile, layers int) error {
	if n := len(config.RootFS.DiffIDs); n != layers || n == 0 {
		return fmt.Errorf("not a container image: it has %d layers, and its configuration %d", layers, n)
	}
	return nil
}

// openArchive opens the output of docker save, compressed or not.
func openArchive(s *Source, _ v1.Platform) (v1.Image, error) {
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(s.path)
		if err != nil {
			return nil, err
		}
		r, err := archive.Decompress(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{r, f}, nil
	}
	var tag *name.Tag
	if s.tag != "" {
		t, err := name.NewTag(s.tag)
		if err != nil {
			return nil, fmt.Errorf("%q is not a name of an image", s.tag)
		}
		tag = &t
	} else if list, err := tarball.LoadManifest(open); err != nil {
		return nil, fmt.Errorf("not an archive of docker save: %w", err)
	} else if len(list) > 1 {
		return nil, errors.New("the archive has several images; name one, as docker-archive:FILE:NAME:TAG")
	}
	return tarball.Image(open, tag)
}

// refName is the annotation of an OCI layout with an image's tag.
const refName = "org.opencontainers.image.ref.name"

// openLayout opens an image of an OCI layout.
func openLayout(s *Source, p v1.Platform) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(s.path)
	if err != nil {
		return nil, fmt.Errorf("not an OCI layout: %w", err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	var found []v1.Descriptor
	for _, d := range list.Manifests {
		if s.tag == "" || d.Annotations[refName] == s.tag {
			found = append(found, d)
		}
	}
	return choose(index, found, p)
}

// choose returns the image for the platform among the manifests of an index.
func choose(index v1.ImageIndex, found []v1.Descriptor, p v1.Platform) (v1.Image, error) {
	if len(found) > 1 {
		var fit []v1.Descriptor
		for _, d := range found {
			if d.Platform != nil && d.Platform.Satisfies(p) {
				fit = append(fit, d)
			}
		}
		if len(fit) > 1 {
			return nil, errors.New("it has several images; name the tag of one")
		}
		found = fit
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("it has no image of that tag for %s", p)
	}
	d := found[0]
	if !d.MediaType.IsIndex() {
		return index.Image(d.Digest)
	}
	inner, err := index.ImageIndex(d.Digest)
	if err != nil {
		return nil, err
	}
	list, err := inner.IndexManifest()
	if err != nil {
		return nil, err
	}
	return choose(inner, list.Manifests, p)
}
