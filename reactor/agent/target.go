package agent

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// target is the file that a write_file or a write names.
type target struct {
	known  bool // find was called
	path   string
	dir    string // what path is in; never empty
	base   string
	exists bool
	mode   uint32 // st_mode, if it exists

	// What a write may ask for, and a write_file does not.
	safe      bool // nothing of the path is followed
	exclusive bool // it must not exist
	given     attributes
}

// attributes are what a file is to have, whatever one that it replaces had.
type attributes struct {
	mode     uint32
	moded    bool // mode is given
	uid, gid uint32
	owned    bool // uid and gid are given; 1<<32 - 1 leaves one as it is
}

// maxLinks is how many symbolic links are followed, as the kernel does; path_resolution(7).
const maxLinks = 40

// find resolves the path. A symbolic link at its end is followed, so that what it points to is replaced and not the link; those before
// the end the kernel follows.
func (t *target) find(path string) error {
	if path == "" {
		return errors.New("path is empty")
	}
	for i := range maxLinks {
		if err := t.name(path); err != nil {
			return err
		}
		var st unix.Stat_t
		err := sys.Fstatat(unix.AT_FDCWD, path, &st, unix.AT_SYMLINK_NOFOLLOW)
		if t.exists = err == nil; err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return sys.NewError("open", path, err)
		}
		if i == 0 && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			// What the kernel finds tells whether the text of the links leads there too. Those of /proc/PID/fd do not.
			var there unix.Stat_t
			if sys.Fstatat(unix.AT_FDCWD, path, &there, 0) == nil && there.Mode&unix.S_IFMT != unix.S_IFREG {
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
			to = path[:len(path)-len(t.base)] + to
		}
		path = to
	}
	return sys.NewError("open", t.path, unix.ELOOP)
}

// name takes a path apart, as far as it can be without a look.
func (t *target) name(path string) error {
	slash := sys.LastSlash(path)
	t.path, t.dir, t.base = path, path[:slash+1], path[slash+1:]
	if t.base == "" {
		return sys.NewError("open", path, unix.EISDIR)
	}
	if t.dir == "" {
		t.dir = "."
	}
	return nil
}

// nameAlone reports whether the path's last name itself is meant, and not what a link of that name leads to.
func (t *target) nameAlone() bool { return t.safe || t.exclusive }

// lookIn is find for a name alone, in the directory of it.
func (t *target) lookIn(dir int) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, t.base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return nil
	}
	t.exists, t.mode = err == nil, st.Mode
	switch {
	case err != nil:
	case t.exclusive:
		err = unix.EEXIST
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		err = unix.ELOOP
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = unix.EISDIR
	case !t.regular():
		err = unix.EINVAL
	default:
		return nil
	}
	return sys.NewError("open", t.path, err)
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

// regular reports whether the target is an ordinary file, or will be.
func (t *target) regular() bool { return !t.exists || t.mode&unix.S_IFMT == unix.S_IFREG }
