package agent

import (
	"errors"

	"golang.org/x/sys/unix"
)

// target is the file that a write_file names.
type target struct {
	known  bool // find was called
	path   string
	dir    string // what path is in; never empty
	base   string
	exists bool
	mode   uint32 // st_mode, if it exists
}

// maxLinks is how many symbolic links are followed, as the kernel does; path_resolution(7).
const maxLinks = 40

// find resolves the path. A symbolic link at its end is followed, so that what it points to is replaced and not the link; those before
// the end the kernel follows.
func (t *target) find(path string) error {
	if path == "" {
		return errors.New("path is empty")
	}
	// What the kernel finds tells whether the text of the links leads there too. Those of /proc/PID/fd do not.
	var there unix.Stat_t
	if unix.Stat(path, &there) == nil && there.Mode&unix.S_IFMT != unix.S_IFREG {
		t.path, t.exists, t.mode = path, true, there.Mode
		if there.Mode&unix.S_IFMT == unix.S_IFDIR {
			return opError("open", path, unix.EISDIR)
		}
		return nil
	}
	for range maxLinks {
		slash := lastSlash(path)
		t.path, t.dir, t.base = path, path[:slash+1], path[slash+1:]
		if t.base == "" {
			return opError("open", path, unix.EISDIR)
		}
		if t.dir == "" {
			t.dir = "."
		}
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if t.exists = err == nil; err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return opError("open", path, err)
		}
		t.mode = st.Mode
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return nil
		}
		to, err := readLink(path)
		if err != nil {
			return opError("readlink", path, err)
		}
		if to[0] != '/' {
			to = path[:slash+1] + to
		}
		path = to
	}
	return opError("open", t.path, unix.ELOOP)
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

// makeDirs makes the directories that lead to a file and are missing, 0755 whatever the umask.
func makeDirs(dir string) error {
	defer unix.Umask(unix.Umask(0))
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if err := unix.Mkdir(dir[:i], 0o755); err != nil && err != unix.EEXIST {
			return opError("mkdir", dir[:i], err)
		}
	}
	return nil
}
