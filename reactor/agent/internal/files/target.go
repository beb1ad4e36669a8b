package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Target is a file that a host has named to be written.
type Target struct {
	_        [0]func() // needs no comparison
	Resolved bool      // Find was called
	Path     string
	Dir      string // of Path; never empty
	Base     string
	Exists   bool
	mode     uint32 // st_mode, if it exists

	Safe      bool // no symbolic link in the path is followed
	Exclusive bool // it must not exist
	Given     Attributes
}

// Attributes are what a host wants for a file, whatever the file that it replaces has.
type Attributes struct {
	Mode     uint32
	HasMode  bool // Mode is given
	UID, GID uint32
	HasOwner bool // UID and GID are given; 1<<32 - 1 leaves one as it is
}

// MaxLinks limits the symbolic links that are followed, as in the kernel; path_resolution(7).
const MaxLinks = 40

// Find resolves path. It follows a symbolic link at the end, so that the file it points to is
// replaced and not the link. The kernel follows the others.
func (t *Target) Find(path string) error {
	if path == "" {
		return errors.New("path is empty")
	}
	for i := range MaxLinks {
		if err := t.Split(path); err != nil {
			return err
		}
		var st unix.Stat_t
		err := sys.Fstatat(unix.AT_FDCWD, path, &st, unix.AT_SYMLINK_NOFOLLOW)
		if t.Exists = err == nil; err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return sys.NewError("open", path, err)
		}
		if i == 0 && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			// The text of a link in /proc/PID/fd need not be a path, so the kernel resolves it
			// first.
			var there unix.Stat_t
			err := sys.Fstatat(unix.AT_FDCWD, path, &there, 0)
			if err == nil && there.Mode&unix.S_IFMT != unix.S_IFREG {
				st = there
			}
		}
		t.mode = st.Mode
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return sys.NewError("open", path, unix.EISDIR)
		case unix.S_IFLNK:
		default:
			return nil
		}
		to, err := readLink(path)
		if err != nil {
			return sys.NewError("readlink", path, err)
		}
		if to[0] != '/' {
			to = path[:len(path)-len(t.Base)] + to
		}
		path = to
	}
	return sys.NewError("open", t.Path, unix.ELOOP)
}

// Split sets the path without looking at the file.
func (t *Target) Split(path string) error {
	slash := sys.LastSlash(path)
	t.Path, t.Dir, t.Base = path, path[:slash+1], path[slash+1:]
	if t.Base == "" {
		return sys.NewError("open", path, unix.EISDIR)
	}
	if t.Dir == "" {
		t.Dir = "."
	}
	return nil
}

// NoFollow reports whether the target is the last name itself, even if that is a link.
func (t *Target) NoFollow() bool { return t.Safe || t.Exclusive }

// checkIn is Find for a target that NoFollow reports. dir is its open directory.
func (t *Target) checkIn(dir int) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, t.Base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return nil
	}
	t.Exists, t.mode = err == nil, st.Mode
	switch {
	case err != nil:
	case t.Exclusive:
		err = unix.EEXIST
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		err = unix.ELOOP
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = unix.EISDIR
	case !t.Regular():
		err = unix.EINVAL
	default:
		return nil
	}
	return sys.NewError("open", t.Path, err)
}

func readLink(path string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(path, buf)
	if n <= 0 && err == nil {
		err = unix.ENOENT // as for an empty path
	}
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// Regular reports whether the target is a regular file, or does not exist yet.
func (t *Target) Regular() bool { return !t.Exists || t.mode&unix.S_IFMT == unix.S_IFREG }
