package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// openLocal opens an archive or a layout.
func openLocal(s *Source, p v1.Platform) (*Image, error) {
	open := map[string]func(*Source, v1.Platform) (v1.Image, error){
		archiveForm: openArchive, layoutForm: openLayout, layoutArchiveForm: openLayoutArchive,
	}[s.form]
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
	open := func() (io.ReadCloser, error) { return openTar(s.path) }
	list, err := loadManifest(s.path)
	if err != nil {
		return nil, err
	}
	var tag *name.Tag
	var tags []string
	for _, d := range list {
		tags = append(tags, d.RepoTags...)
	}
	if s.tag != "" {
		t, err := name.NewTag(s.tag)
		if err != nil {
			return nil, fmt.Errorf("%q is not a name of an image", s.tag)
		}
		if tag = &t; !slices.ContainsFunc(tags, func(has string) bool {
			other, err := name.NewTag(has)
			return err == nil && other.Name() == t.Name()
		}) {
			return nil, fmt.Errorf("the archive has no image %s; %s", s.tag, thereAre(tags))
		}
	} else if len(list) != 1 {
		return nil, fmt.Errorf("the archive has %d images; name one, as docker-archive:FILE:NAME:TAG; %s", len(list), thereAre(tags))
	}
	return tarball.Image(open, tag)
}

// loadManifest reads the list of images of an archive of docker save.
func loadManifest(file string) (tarball.Manifest, error) {
	list, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return openTar(file) })
	if err == nil {
		return list, nil
	}
	if _, other := inArchive(file).index(); other == nil {
		return nil, errors.New("an archive of an OCI layout, and not of docker save; use oci-archive:FILE")
	}
	return nil, fmt.Errorf("not an archive of docker save: %w", err)
}

// openLayout opens an image of an OCI layout.
func openLayout(s *Source, p v1.Platform) (v1.Image, error) {
	if info, err := os.Stat(s.path); err == nil && !info.IsDir() {
		return nil, errors.New("not a directory; oci-archive:FILE is for an archive of an OCI layout")
	}
	return inDir(s.path).find(s.tag, p)
}

// openLayoutArchive opens an image of an OCI layout in a tar, compressed or not.
func openLayoutArchive(s *Source, p v1.Platform) (v1.Image, error) {
	img, err := inArchive(s.path).find(s.tag, p)
	if errors.Is(err, fs.ErrNotExist) {
		if _, other := tarball.LoadManifest(func() (io.ReadCloser, error) { return openTar(s.path) }); other == nil {
			return nil, errors.New("an archive of docker save, and not of an OCI layout; use docker-archive:FILE")
		}
	}
	return img, err
}
