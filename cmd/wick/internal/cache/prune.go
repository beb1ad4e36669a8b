package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// LimitVariable is the environment's variable with the size to which the cache is bounded.
const LimitVariable = "WICK_CACHE_SIZE"

// defaultLimit is the size of the cache without the variable.
const defaultLimit = 10 << 30

// Limit returns the size in bytes to which the cache is bounded.
func Limit() (int64, error) {
	text := os.Getenv(LimitVariable)
	if text == "" {
		return defaultLimit, nil
	}
	n, err := ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", LimitVariable, err)
	}
	return n, nil
}

// pins has the entries that this process uses, each with a file on which it holds a shared lock.
var pins = struct {
	sync.Mutex
	files map[string]*os.File
}{files: map[string]*os.File{}}

// pin takes a shared lock on an entry, which the process holds until it ends or calls [Release]. It
// reports whether the entry exists. Without locks (some network file systems) the entry is not
// pinned.
func pin(path string) bool {
	pins.Lock()
	defer pins.Unlock()
	for {
		there, err := os.Lstat(path)
		if err != nil {
			return false
		}
		held := pins.files[path]
		if held != nil {
			if info, err := held.Stat(); err == nil && os.SameFile(info, there) {
				return true
			}
			held.Close() // of an entry that was removed and made again
			delete(pins.files, path)
		}
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
		if err != nil {
			return !errors.Is(err, fs.ErrNotExist)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close() // it is being removed
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			f.Close()
			return true
		}
		pins.files[path] = f // the loop checks that it was not removed before the lock
	}
}

// Release gives up the use of all entries that this process uses.
func Release() {
	pins.Lock()
	defer pins.Unlock()
	for path, f := range pins.files {
		f.Close()
		delete(pins.files, path)
	}
}

// Entry is an entry of the cache, or the remains of one.
type Entry struct {
	Name string
	// Kind is the name up to its first hyphen.
	Kind string
	// Size is the space on disk in bytes.
	Size int64
	// Used is when it was last used.
	Used time.Time
}

// Entries returns the entries, the least recently used first. It leaves out locks.
func (d Dir) Entries() ([]Entry, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	dir, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cache: %w", err)
	}
	all := make([]Entry, 0, len(dir))
	for _, e := range dir {
		info, err := e.Info()
		if err != nil || strings.HasSuffix(e.Name(), lockSuffix) {
			continue // err: removed meanwhile
		}
		kind, _, _ := strings.Cut(e.Name(), "-")
		all = append(all, Entry{e.Name(), kind, d.size(e), info.ModTime()})
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Used.Compare(b.Used) })
	return all, nil
}

// size returns the space on disk of an entry.
func (d Dir) size(e fs.DirEntry) (size int64) {
	filepath.WalkDir(filepath.Join(string(d), e.Name()), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile, or takes no space that we know of
		}
		if info, err := e.Info(); err == nil {
			size += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return size
}

// Prune removes the least recently used entries until the rest has at most limit bytes, and all
// remains of killed processes. It keeps entries that a process uses. It returns those it removed.
func (d Dir) Prune(limit int64) (removed []Entry, err error) {
	all, err := d.Entries()
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, e := range all {
		total += e.Size
	}
	for _, e := range all {
		unfinished := strings.HasSuffix(e.Name, tmpSuffix)
		if total <= limit && !unfinished {
			continue
		}
		ok := false
		if unfinished {
			ok = d.sweep(e.Name)
		} else {
			ok = d.Remove(e.Name)
		}
		if ok {
			total -= e.Size
			removed = append(removed, e)
		}
	}
	return removed, nil
}

// Remove removes an entry that no process uses. It reports whether it did.
func (d Dir) Remove(name string) bool {
	path := filepath.Join(string(d), name)
	pins.Lock()
	used := pins.files[path] != nil
	pins.Unlock()
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if used || err != nil {
		if f != nil {
			f.Close()
		}
		return false
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false
	}
	// A directory is not removed in one step, and no half of it may be taken for the entry.
	gone := path + ".old" + tmpSuffix
	if os.RemoveAll(gone) != nil || os.Rename(path, gone) != nil {
		return false
	}
	os.RemoveAll(gone) // the next Prune removes what is left
	return true
}

// sweep removes the remains of an entry that no process makes any more.
func (d Dir) sweep(name string) bool {
	path := filepath.Join(string(d), name)
	ended, cancel := context.WithCancel(context.Background())
	cancel() // so that lock does not wait
	l, err := lock(ended, strings.TrimSuffix(path, tmpSuffix)+lockSuffix)
	if err != nil {
		return false
	}
	defer l.release()
	return os.RemoveAll(path) == nil
}

// ParseSize parses a number of bytes with an optional unit: 500000, 512M, 1.5G, 10GiB. The units
// are powers of 1024.
func ParseSize(text string) (int64, error) {
	number := strings.TrimRight(strings.ToLower(text), "bi")
	unit := 1.0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("kmgt", number[n-1]); i >= 0 {
			unit, number = math.Pow(1024, float64(i+1)), number[:n-1]
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || n*unit >= math.MaxInt64 || math.IsNaN(n) {
		return 0, fmt.Errorf("%q is not a size like 512M or 10G", text)
	}
	return int64(n * unit), nil
}
