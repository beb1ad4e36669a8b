package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"wick/cmd/wick/internal/cache"
)

// Store has the images in a cache.
type Store struct {
	Dir cache.Dir
	// Progress, if not nil, gets the progress of a pull, from one goroutine at a time.
	Progress func(Progress)
	// Pulled, if not nil, is called after an image was fetched.
	Pulled func(Pulled)
}

// Policy says when an image is pulled.
type Policy string

// The policies, by the names that docker gives them.
const (
	Missing Policy = "missing"
	Always  Policy = "always"
	Never   Policy = "never"
)

// Record says which image a name had when it was pulled.
type Record struct {
	// Name is the full name with the registry.
	Name     string    `json:"name"`
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Pulled   time.Time `json:"pulled"`
	// Manifest and Config are as the registry has them.
	Manifest []byte `json:"manifest"`
	Config   []byte `json:"config"`

	manifest *v1.Manifest
	config   *v1.ConfigFile
	entry    string // its name in the cache
}

// The kinds of the cache's entries.
const (
	recordKind = "image"
	blobKind   = "blob"
)

func recordName(name, platform string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + platform))
	return recordKind + "-" + hex.EncodeToString(sum[:16]) + ".json"
}

func blobName(digest v1.Hash) string { return blobKind + "-" + digest.Hex }

// parse parses the manifest and the configuration.
func (r *Record) parse() error {
	r.manifest, r.config = &v1.Manifest{}, &v1.ConfigFile{}
	if err := json.Unmarshal(r.Manifest, r.manifest); err != nil {
		return fmt.Errorf("parse the manifest: %w", err)
	}
	if err := json.Unmarshal(r.Config, r.config); err != nil {
		return fmt.Errorf("parse the configuration: %w", err)
	}
	return sameCount(r.config, len(r.manifest.Layers))
}

// ID is the digest of the configuration, by which docker names an image.
func (r *Record) ID() v1.Hash { return r.manifest.Config.Digest }

// String returns the name as docker shows it.
func (r *Record) String() string { return familiar(r.Name) }

// Labels are the labels of the configuration.
func (r *Record) Labels() map[string]string { return r.config.Config.Labels }

// Created is when the image was made.
func (r *Record) Created() time.Time { return r.config.Created.Time }

// Size is the size of the packed layers in bytes.
func (r *Record) Size() (n int64) {
	for _, l := range r.manifest.Layers {
		n += l.Size
	}
	return n
}

// Parsed returns the manifest and the configuration.
func (r *Record) Parsed() (*v1.Manifest, *v1.ConfigFile) { return r.manifest, r.config }

// Repository returns the name without the tag, and the tag, or "" if the image was pulled by its
// digest.
func (r *Record) Repository() (repository, tag string) {
	short := familiar(r.Name)
	if repository, _, ok := strings.Cut(short, "@"); ok {
		return repository, ""
	}
	i := strings.LastIndexByte(short, ':')
	return short[:i], short[i+1:]
}

// read reads a record, or returns nil.
func (s *Store) read(entry string) *Record {
	path, ok := s.Dir.Find(entry)
	if !ok {
		return nil
	}
	text, err := os.ReadFile(path)
	r := &Record{entry: entry}
	if err != nil || json.Unmarshal(text, r) != nil || r.parse() != nil {
		return nil // a pull replaces it
	}
	return r
}

// Records returns all records, the newest first.
func (s *Store) Records() ([]*Record, error) {
	entries, err := s.Dir.Entries()
	if err != nil {
		return nil, err
	}
	var all []*Record
	for _, e := range entries {
		if e.Kind != recordKind {
			continue
		}
		if r := s.read(e.Name); r != nil {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *Record) int {
		return cmp.Or(b.Pulled.Compare(a.Pulled), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}

// Find returns the records that a text names: a name, or the beginning of an ID with at least 4
// digits.
func (s *Store) Find(text string) ([]*Record, error) {
	all, err := s.Records()
	if err != nil {
		return nil, err
	}
	return matching(all, text)
}

// Open returns an image. A registry's image is pulled as the policy says: its manifest now, and its
// layers by [Image.Root] or [Image.Fetch].
func (s *Store) Open(ctx context.Context, src *Source, p v1.Platform, policy Policy) (*Image, error) {
	switch {
	case src.form == daemonForm:
		return openDaemon(ctx, s.Dir, src, p)
	case !src.Remote():
		return openLocal(src, p)
	}
	r, err := s.record(ctx, src, p, policy)
	if err != nil {
		return nil, err
	}
	i := &Image{Name: src.String(), Digest: r.Digest, Config: r.config, id: r.ID().Hex}
	for n := range r.manifest.Layers {
		name := blobName(r.manifest.Layers[n].Digest)
		i.layers = append(i.layers, layer{
			diff: r.config.RootFS.DiffIDs[n].Hex,
			open: func() (io.ReadCloser, error) { return os.Open(s.path(name)) },
			drop: func() { os.Remove(s.path(name)) },
		})
	}
	i.fetch = func(ctx context.Context) error {
		if policy == Never && !s.has(r.manifest.Layers) {
			return fmt.Errorf("layers of %s: %w; wick pull fetches them", src, ErrAbsent)
		}
		return s.fetch(ctx, src, r)
	}
	return i, nil
}

// record returns the record of a name.
func (s *Store) record(ctx context.Context, src *Source, p v1.Platform, policy Policy) (*Record, error) {
	entry := recordName(src.ref.Name(), p.String())
	if policy != Always {
		if r := s.read(entry); r != nil {
			return r, nil
		}
	}
	if policy == Never {
		return nil, fmt.Errorf("image %s for %s: %w; wick pull fetches it", src, p, ErrAbsent)
	}
	r, err := s.resolve(ctx, src, p)
	if err == nil {
		err = checkPlatform(r.config, p)
	}
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", src, err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	r.entry = entry
	return r, s.Dir.Put(ctx, entry, text)
}

func (s *Store) path(entry string) string { return filepath.Join(string(s.Dir), entry) }

// has reports whether all layers are in the cache.
func (s *Store) has(layers []v1.Descriptor) bool {
	return !slices.ContainsFunc(layers, func(d v1.Descriptor) bool {
		_, ok := s.Dir.Find(blobName(d.Digest))
		return !ok
	})
}

// Remove removes the images that the texts name, and what only they need. A text is a name, or the
// beginning of an ID with at least 4 digits. It calls gone for each image.
func (s *Store) Remove(texts []string, gone func(*Record)) error {
	all, err := s.Records()
	if err != nil {
		return err
	}
	var failed []error
	removed := map[*Record]bool{}
	for _, text := range texts {
		found, err := matching(all, text)
		if err != nil {
			failed = append(failed, err)
		}
		for _, r := range found {
			if removed[r] {
				continue
			}
			if err := os.Remove(s.path(r.entry)); err != nil {
				failed = append(failed, err)
				continue
			}
			removed[r] = true
			gone(r)
		}
	}
	return errors.Join(append(failed, s.collect(all, removed))...)
}

// matching returns the records that a text names: those of a name for each platform, or those of an
// ID with each name.
func matching(all []*Record, text string) (found []*Record, err error) {
	if src, err := ParseSource(text); err == nil && src.Remote() {
		for _, r := range all {
			if r.Name == src.ref.Name() {
				found = append(found, r)
			}
		}
	}
	if id := strings.TrimPrefix(text, "sha256:"); len(found) == 0 && len(id) >= 4 {
		for _, r := range all {
			if strings.HasPrefix(r.ID().Hex, id) {
				found = append(found, r)
			}
		}
		if slices.ContainsFunc(found, func(r *Record) bool { return r.ID() != found[0].ID() }) {
			return nil, fmt.Errorf("image %s: several images have an ID that begins so", text)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("image %s: %w", text, ErrAbsent)
	}
	return found, nil
}

// collect removes the layers and root images of removed images, except those of others.
func (s *Store) collect(all []*Record, removed map[*Record]bool) error {
	drop := map[string]bool{}
	for _, gone := range []bool{true, false} { // what another image needs is taken out again
		for _, r := range all {
			if removed[r] != gone {
				continue
			}
			drop[rootPrefix(r.ID().Hex)] = gone
			for _, l := range r.manifest.Layers {
				drop[blobName(l.Digest)] = gone
			}
		}
	}
	entries, err := s.Dir.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name
		if e.Kind == rootKind {
			name = name[:min(len(name), len(rootPrefix(strings.Repeat("0", 64))))]
		}
		if drop[name] {
			s.Dir.Remove(e.Name) // or a machine is being made from it, and Prune removes it later
		}
	}
	return nil
}
