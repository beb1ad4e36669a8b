// Package cache keeps costly results (images, kernels, answers of trials) between runs. They are
// files and directories that are either complete or absent.
//
// An entry's name holds the hash of everything that it was made from. So an entry is never out of
// date and never changed; see [Key]. Two processes that want the same entry make it once. A lock
// makes the second wait for the first (flock, which the kernel drops with its holder). An entry is
// made next to its place and then renamed. If a process is killed meanwhile, its remains are
// removed by the next one that makes the same entry.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// unused is how long an entry may be unused. After that the next new entry of its kind removes it.
const unused = 14 * 24 * time.Hour

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

// lookup returns the path of an entry if it exists, and records the use.
func (d Dir) lookup(name string) (path string, ok bool) {
	path = filepath.Join(string(d), name)
	if _, err := os.Lstat(path); err != nil {
		return path, false
	}
	now := time.Now()
	os.Chtimes(path, now, now) // only prune reads it, and a read-only cache is still useful
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
	l, err := lock(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer l.release()
	if _, ok := d.lookup(name); ok {
		return path, nil // the lock's last holder made it
	}
	tmp := path + ".tmp"
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
	d.prune(name)
	return path, nil
}

// prune removes long-unused entries of the same kind as name (the part before its first hyphen). A
// machine that still runs on one holds it open.
func (d Dir) prune(name string) {
	kind, _, _ := strings.Cut(name, "-")
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), kind+"-") || e.Name() == name ||
			strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > unused {
			os.RemoveAll(filepath.Join(string(d), e.Name()))
		}
	}
}
