package image

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/cache"
)

// walk calls visit for each entry of a directory tree, the top first. A mount is visited as an
// empty directory or file, and its content is not. A directory that cannot be read is visited but
// not entered. info is nil if an entry's metadata cannot be read.
func walk(top string, visit func(path string, info fs.FileInfo, mounted bool) error) error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == top:
			return err
		case errors.Is(err, fs.ErrPermission):
			return fs.SkipDir // visited already
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil:
			return nil //nolint:nilerr // the entry was removed meanwhile
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return visit(path, nil, false)
		}
		if err != nil {
			return err
		}
		mounted := path != top && isMount(path)
		if err := visit(path, info, mounted); err != nil {
			return err
		}
		if mounted && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

// isMount reports whether path is a mount point. Device numbers do not show it: a bind mount has
// that of its directory, and a subvolume of btrfs its own. Kernels before 5.8 cannot tell, and it
// is false.
func isMount(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// tree has the facts about a directory that are needed before it is packed.
type tree struct {
	top string
	// owner and group are replaced by root's. They are those of the top of a tree that was made
	// without root. They are 0 if root owns anything in the tree, because then all owners are
	// meant.
	owner, group uint32
	// notes says what an image lacks of it, a sentence a line.
	notes string
}

// lookAt walks a directory once, for the cache's key and for the facts of tree.
func lookAt(source string, key *cache.Key) (*tree, error) {
	abs, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	if t.top, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	var mounts, sockets, closed, lists names
	roots := false
	err = walk(t.top, func(path string, info fs.FileInfo, mounted bool) error {
		name := strings.TrimPrefix(path, t.top)
		if info == nil {
			closed.add(name)
			key.Add(path)
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		if mounted {
			key.Add(path, "mounted", fmt.Sprint(st.Mode, st.Uid, st.Gid)) // its times change by themselves
			mounts.add(name)
			return nil
		}
		key.File(path, info)
		kind := info.Mode().Type()
		switch {
		case path == t.top:
			t.owner, t.group = st.Uid, st.Gid
		case kind == fs.ModeSocket:
			sockets.add(name)
			return nil
		case kind&fs.ModeSymlink == 0 && hasList(path):
			lists.add(name)
		}
		roots = roots || st.Uid == 0 && path != t.top
		if (kind == 0 || kind == fs.ModeDir) && !readable(path, kind) {
			closed.add(name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if roots {
		t.owner, t.group = 0, 0
	}
	for _, n := range []struct {
		names
		text string
	}{
		{mounts, "what is mounted in the directory is left out: %s"},
		{sockets, "sockets are left out, no program listens there: %s"},
		{closed, "you may not read, and so the machine does not have, the content of: %s"},
		{lists, "the image cannot hold access control lists, and drops those of: %s"},
	} {
		if n.count > 0 {
			t.notes += fmt.Sprintf(n.text, n.names) + "\n"
		}
	}
	return t, nil
}

// addContent adds the names, metadata and content of a directory tree to a key, but no times.
func addContent(top string, key *cache.Key) error {
	return walk(top, func(path string, info fs.FileInfo, mounted bool) error {
		key.Add(strings.TrimPrefix(path, top))
		if info == nil || mounted {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		key.Add(fmt.Sprint(st.Mode, st.Uid, st.Gid, st.Rdev, st.Nlink > 1 && !info.IsDir()))
		attributes, err := xattrs(path)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			key.Add(name, attributes[name])
		}
		switch info.Mode().Type() {
		case 0:
			return absent(key.Content(path))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			key.Add(target)
			return absent(err)
		}
		return nil
	})
}

// readable reports whether the content can be read, by the effective rights rather than the mode.
func readable(path string, kind fs.FileMode) bool {
	mode := uint32(unix.R_OK)
	if kind == fs.ModeDir {
		mode |= unix.X_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil
}

// hasList reports whether a file has a POSIX access control list.
func hasList(path string) bool {
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		if n, err := unix.Lgetxattr(path, name, nil); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// names has the first of many names.
type names struct {
	first []string
	count int
}

func (n *names) add(name string) {
	if n.count++; len(n.first) < 5 {
		n.first = append(n.first, name)
	}
}

func (n names) String() string {
	text := strings.Join(n.first, ", ")
	if more := n.count - len(n.first); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
