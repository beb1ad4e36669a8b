package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"wick/cmd/wick/internal/archive"
	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
	"wick/framing/client"
)

// Image is an image whose configuration is known.
type Image struct {
	// Name is the name for display.
	Name string
	// Digest is that of the manifest, or "" if the image is not from a registry.
	Digest string
	// Config is the configuration.
	Config *v1.ConfigFile
	// id is the digest of the configuration, in hexadecimal.
	id     string
	layers []layer
	// fetch, if not nil, fetches the layers that are not in the cache.
	fetch func(context.Context) error
}

// layer is one layer of an image.
type layer struct {
	// diff is the digest of the unpacked layer, in hexadecimal.
	diff string
	open func() (io.ReadCloser, error)
	// drop, if not nil, removes a layer from the cache.
	drop func()
}

// A damagedError reports a layer that cannot be unpacked.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// rootKind is the first part of the names of merged images in the cache.
const rootKind = "oci"

// rootPrefix returns the beginning of the names of an image's root images.
func rootPrefix(id string) string { return rootKind + "-" + id[:32] }

// Root makes a root image with vm-init, or finds it in the cache.
func (i *Image) Root(ctx context.Context, dir cache.Dir, init string) (image.Root, error) {
	root, err := image.Pack(ctx, dir, rootPrefix(i.id), i.id, init, i.pack)
	if err != nil {
		return root, fmt.Errorf("make a root image of %s: %w", i.Name, err)
	}
	return root, nil
}

// pack adds the entries of the merged image.
func (i *Image) pack(ctx context.Context, add func(*tar.Header, io.Reader) error) error {
	if i.fetch != nil {
		if err := i.fetch(ctx); err != nil {
			return err
		}
	}
	m := newMerger()
	for n := range i.layers {
		m.layer = n
		err := i.layers[n].read(ctx, func(entry int, h *tar.Header, _ io.Reader) error { return m.add(entry, h) })
		if err != nil {
			if bad, ok := errors.AsType[*damagedError](err); ok && i.layers[n].drop != nil && ctx.Err() == nil {
				i.layers[n].drop() // the next run fetches it again
				err = bad.err
			}
			return fmt.Errorf("read layer %d: %w", n+1, err)
		}
	}
	m.finish(i.directories())
	dirs, files := m.collect()
	for _, d := range dirs {
		if err := d.write(add, nil); err != nil {
			return err
		}
	}
	contents := make([]map[int]*inode, len(i.layers))
	for _, f := range files {
		if f.h.Typeflag != tar.TypeReg || f.h.Size == 0 {
			if err := f.write(add, strings.NewReader("")); err != nil {
				return err
			}
			continue
		}
		if contents[f.layer] == nil {
			contents[f.layer] = map[int]*inode{}
		}
		contents[f.layer][f.entry] = f
	}
	for n, files := range contents {
		if files == nil {
			continue
		}
		err := i.layers[n].read(ctx, func(entry int, _ *tar.Header, content io.Reader) error {
			if f := files[entry]; f != nil {
				return f.write(add, content)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read layer %d: %w", n+1, err)
		}
	}
	return nil
}

// write adds a file under its first name, and hard links for the others.
func (f *inode) write(add func(*tar.Header, io.Reader) error, content io.Reader) error {
	h := *f.h
	h.Name = f.names[0]
	if err := add(&h, content); err != nil {
		return err
	}
	for _, name := range f.names[1:] {
		link := *f.h
		link.Typeflag, link.Name, link.Linkname, link.Size, link.PAXRecords = tar.TypeLink, name, f.names[0], 0, nil
		if err := add(&link, nil); err != nil {
			return err
		}
	}
	return nil
}

// directories returns the directories that the configuration needs.
func (i *Image) directories() []string {
	c := &i.Config.Config
	return append(slices.Sorted(maps.Keys(c.Volumes)), c.WorkingDir)
}

// read calls f for each entry with its number, and checks the digest of the whole layer.
func (l *layer) read(ctx context.Context, f func(entry int, h *tar.Header, content io.Reader) error) error {
	raw, err := l.open()
	if err != nil {
		return err
	}
	defer raw.Close()
	plain, err := archive.Decompress(raw)
	if err != nil {
		return &damagedError{err}
	}
	sum := sha256.New()
	from := &interruptible{ctx: ctx, r: plain}
	whole := io.TeeReader(from, sum)
	in := client.NewTarReader(whole, nil)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) || err != nil && from.done && from.n == 0 {
			break // a layer of 0 bytes is empty too
		}
		if err != nil {
			return &damagedError{err}
		}
		if err := f(n, h, in); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, whole); err != nil { // what follows the end mark
		return &damagedError{err}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.diff {
		return &damagedError{&DigestError{"unpacked layer", "sha256:" + l.diff, "sha256:" + got}}
	}
	return nil
}

// A DigestError reports content that is not what its digest says.
type DigestError struct{ Object, Want, Got string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s %s: the content is another one (%s)", e.Object, e.Want, e.Got)
}

// interruptible is a reader that fails when its context ends.
type interruptible struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	done bool // the end was read
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := i.r.Read(p)
	i.n += int64(n)
	i.done = errors.Is(err, io.EOF)
	return n, err
}
