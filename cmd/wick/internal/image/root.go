package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"wick/cmd/wick/internal/archive"
	"wick/cmd/wick/internal/cache"
)

// recipe is the version of the images. It is raised when the same source must give another image.
const recipe = 3

// A Root is a root image.
type Root struct {
	// Path is the squashfs.
	Path string
	// Init is the path of vm-init in it.
	Init string
	// Notes says what it lacks of its source, a sentence a line.
	Notes string
}

// A SourceError reports a source from which no image can be made.
type SourceError struct {
	Source string
	Reason string
}

func (e *SourceError) Error() string { return "make a root image of " + e.Source + ": " + e.Reason }

// Build makes a root image, or finds it in the cache. The source is a directory, a tar (also
// compressed), a squashfs, or "" for the default system of the architecture. init is the path of
// the vm-init to add.
func Build(ctx context.Context, dir cache.Dir, arch, source, init string) (Root, error) {
	root, err := build(ctx, dir, arch, source, init)
	if err == nil {
		return root, nil
	}
	if bad, ok := errors.AsType[*SourceError](err); ok {
		return Root{}, &SourceError{source, bad.Reason}
	}
	if source == "" {
		return Root{}, err
	}
	return Root{}, fmt.Errorf("make a root image of %s: %w", source, err)
}

func build(ctx context.Context, dir cache.Dir, arch, source, init string) (Root, error) {
	kind, err := classify(source)
	if err != nil {
		return Root{}, err
	}
	key := cache.NewKey("root/"+kind.name, recipe)
	if err := key.Content(init); err != nil {
		return Root{}, fmt.Errorf("read vm-init: %w", err)
	}
	fill := kind.fill
	notes := ""
	switch kind {
	case isDefault:
		fill, err = fillDefault(ctx, dir, arch, key)
	case isDir:
		var t *tree
		if t, err = lookAt(source, key); err == nil {
			fill, notes = t.fill, t.notes
		}
	case isTar, isZipped:
		err = key.Identity(source)
	case isSquashfs:
		at, err := findInit(ctx, source)
		if err != nil || at != "" {
			return Root{Path: source, Init: at}, err
		}
		if err := key.Identity(source); err != nil {
			return Root{}, err
		}
		path, err := dir.Get(ctx, key.Name("root", ".squashfs"), func(ctx context.Context, tmp string) error {
			return appendInit(ctx, tmp, source, init)
		})
		return Root{Path: path, Init: "/" + appendedInit}, err
	}
	if err != nil {
		return Root{}, err
	}
	var env []string
	if kind == isDefault {
		env = []string{"SOURCE_DATE_EPOCH=0"} // the same image from the same busybox on every host
	}
	path, err := dir.Get(ctx, key.Name("root", ".squashfs"), func(ctx context.Context, tmp string) error {
		return squash(ctx, tmp, env, func(w io.Writer) error {
			s := newStream(w)
			if err := fill(s, source); err != nil {
				return err
			}
			return s.finish(init)
		})
	})
	return Root{path, addedInit, notes}, err
}

// Pack makes a root image of the entries that fill adds, or finds it in the cache. Its name there
// is kind and the hash of id and vm-init. id identifies the entries, which must not depend on
// anything else. They are those of a merged container image. An entry comes after the directories
// above it, and a hard link after its target.
//
// The times in the image are those of the entries, and the top directory's is 0. So the same
// entries have the same content in each image.
func Pack(
	ctx context.Context, dir cache.Dir, kind, id, init string,
	fill func(ctx context.Context, add func(*tar.Header, io.Reader) error) error,
) (Root, error) {
	key := cache.NewKey("root/merged", recipe)
	key.Add(id)
	if err := key.Content(init); err != nil {
		return Root{}, fmt.Errorf("read vm-init: %w", err)
	}
	path, err := dir.Get(ctx, key.Name(kind, ".squashfs"), func(ctx context.Context, tmp string) error {
		return squash(ctx, tmp, nil, func(w io.Writer) error {
			s := newStream(w)
			s.merged = true
			if err := fill(ctx, s.add); err != nil {
				return err
			}
			return s.finish(init)
		}, reproducible...)
	})
	return Root{Path: path, Init: addedInit}, err
}

// Layered makes a root image of a directory that shows layers as one file system, or finds it in
// the cache. An example is a mounted overlay. The layers are directories, and the inodes, sizes and
// times of their files identify the content. Without layers, the content of source itself does,
// which is then read whole.
func Layered(
	ctx context.Context, dir cache.Dir, source string, layers []string, init string,
) (Root, error) {
	key := cache.NewKey("root/layered", recipe)
	err := key.Content(init)
	for _, layer := range layers {
		if err == nil {
			_, err = lookAt(layer, key)
		}
	}
	if err == nil && len(layers) == 0 {
		err = addContent(source, key)
	}
	if err != nil {
		return Root{}, fmt.Errorf("make a root image of %s: %w", source, err)
	}
	path, err := dir.Get(ctx, key.Name("root", ".squashfs"), func(ctx context.Context, tmp string) error {
		t, err := lookAt(source, cache.NewKey("", 0))
		if err != nil {
			return err
		}
		t.owner, t.group = 0, 0 // a container's owners are meant
		return squash(ctx, tmp, nil, func(w io.Writer) error {
			s := newStream(w)
			if err := t.fill(s, source); err != nil {
				return err
			}
			return s.finish(init)
		})
	})
	if err != nil {
		err = fmt.Errorf("make a root image of %s: %w", source, err)
	}
	return Root{Path: path, Init: addedInit}, err
}

// fillDefault adds the parts of the default system to the key, and returns its filler.
func fillDefault(ctx context.Context, dir cache.Dir, arch string, key *cache.Key) (filler, error) {
	busybox, err := Busybox(ctx, dir, arch)
	if err != nil {
		return nil, err
	}
	if err := key.Content(busybox); err != nil {
		return nil, err
	}
	list, err := applets(ctx, dir)
	if err != nil {
		return nil, err
	}
	key.Add(string(list))
	return func(s *stream, _ string) error { return defaultSystem(s, busybox, list) }, nil
}

// A filler writes a whole source into the stream.
type filler func(s *stream, source string) error

// kind is the kind of a source.
type kind struct {
	name string
	fill filler
}

var (
	isDefault  = &kind{"default", nil}
	isDir      = &kind{"dir", nil} // the filler is that of its tree
	isTar      = &kind{"tar", fromTar}
	isZipped   = &kind{"zipped", fromTar}
	isSquashfs = &kind{"squashfs", nil}
)

// classify returns the kind of a source by its content, not its name.
func classify(source string) (*kind, error) {
	if source == "" {
		return isDefault, nil
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return isDir, nil
	case info.Mode().Type()&fs.ModeType != 0:
		return nil, &SourceError{source, "neither a directory nor a file"}
	}
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("hsqs")):
		return isSquashfs, nil
	case archive.Compression(head) != "":
		return isZipped, nil
	case n >= 512 && strings.HasPrefix(string(head[257:]), "ustar"):
		return isTar, nil
	}
	if what := otherKind(head); what != "" {
		return nil, &SourceError{source, what}
	}
	return nil, &SourceError{source, "neither a directory, nor a tar (plain, gzip, zstd, xz or bzip2), nor a squashfs"}
}
