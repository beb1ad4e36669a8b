// Package cache keeps costly results (images, kernels, answers of trials) between runs. They are
// files and directories that are either complete or absent.
//
// An entry's name holds the hash of everything that it was made from. So an entry is never out of
// date and never changed; see [Key]. Two processes that want the same entry make it once. A lock
// makes the second wait for the first (flock, which the kernel drops with its holder). An entry is
// made next to its place and then renamed. If a process is killed meanwhile, its remains are
// removed by the next one that makes the same entry, or by [Dir.Prune].
//
// The cache is bounded, see [Limit]. The least recently used entries are removed when a new one is
// made. An entry that a process uses stays: the process holds a shared lock on it.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The names of an entry's lock, and of an entry that is being made.
const (
	lockSuffix = ".lock"
	tmpSuffix  = ".tmp"
)

// Dir is a cache's directory.
type Dir string

// Default returns the user's own cache: wick in $XDG_CACHE_HOME, or in ~/.cache.
func Default() (Dir, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return Dir(filepath.Join(base, "wick")), nil
}

// lookup returns the path of an entry if it exists. It records the use, and pins the entry, so that
// no other process removes it until this one ends.
func (d Dir) lookup(name string) (path string, ok bool) {
	path = filepath.Join(string(d), name)
	if !pin(path) {
		return path, false
	}
	now := time.Now()
	os.Chtimes(path, now, now) // only Prune reads it, and a read-only cache is still useful
	return path, true
}

// check refuses a directory in which another user can place files that we then boot. Root's is as
// good as our own.
func (d Dir) check() error {
	info, err := os.Stat(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not yet made
	}
	if err != nil {
		return fmt.Errorf("use the cache: %w", err)
	}
	switch uid := info.Sys().(*syscall.Stat_t).Uid; {
	case !info.IsDir():
		return fmt.Errorf("use the cache %s: not a directory", d)
	case uid != uint32(os.Geteuid()) && uid != 0:
		return fmt.Errorf("use the cache %s: it belongs to another user (uid %d); set XDG_CACHE_HOME", d, uid)
	case info.Mode()&0o002 != 0:
		return fmt.Errorf("use the cache %s: every user can write to it; chmod o-w it", d)
	}
	return nil
}

// Get returns the path of the entry. If there is no such entry, build makes it at tmp, as a file or
// a directory.
func (d Dir) Get(
	ctx context.Context, name string, build func(ctx context.Context, tmp string) error,
) (string, error) {
	if err := d.check(); err != nil {
		return "", err
	}
	path, ok := d.lookup(name)
	if ok {
		return path, nil
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	if err := d.check(); err != nil { // another user may have been quicker
		return "", err
	}
	l, err := lock(ctx, path+lockSuffix)
	if err != nil {
		return "", err
	}
	defer l.release()
	if _, ok := d.lookup(name); ok {
		return path, nil // the lock's last holder made it
	}
	tmp := path + tmpSuffix
	if err := os.RemoveAll(tmp); err != nil {
		return "", fmt.Errorf("sweep the cache: %w", err)
	}
	if err := build(ctx, tmp); err != nil {
		os.RemoveAll(tmp)
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.RemoveAll(tmp)
		return "", fmt.Errorf("keep in the cache: %w", err)
	}
	if _, ok := d.lookup(name); !ok {
		return "", fmt.Errorf("keep in the cache: %s: removed meanwhile", path)
	}
	if limit, err := Limit(); err == nil {
		d.Prune(limit)
	}
	return path, nil
}

// Put replaces an entry by a file with this content. It is for a small record that changes, such as
// the digest of a tag.
func (d Dir) Put(ctx context.Context, name string, content []byte) error {
	err := d.check()
	if err == nil {
		err = os.MkdirAll(string(d), 0o700)
	}
	if err == nil {
		err = d.check() // another user may have been quicker
	}
	if err != nil {
		return err
	}
	path := filepath.Join(string(d), name)
	l, err := lock(ctx, path+lockSuffix)
	if err != nil {
		return err
	}
	defer l.release()
	if err = os.WriteFile(path+tmpSuffix, content, 0o600); err == nil {
		err = os.Rename(path+tmpSuffix, path)
	}
	if err != nil {
		os.Remove(path + tmpSuffix)
		return fmt.Errorf("keep in the cache: %w", err)
	}
	return nil
}

// Find returns the path of an entry if it exists. It counts as a use.
func (d Dir) Find(name string) (path string, ok bool) {
	if d.check() != nil {
		return "", false
	}
	return d.lookup(name)
}
