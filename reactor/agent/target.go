package agent

import (
	"errors"
	"strings"

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
	for range maxLinks {
		if path == "" {
			return errors.New("path is empty")
		}
		t.path = path
		slash := strings.LastIndexByte(path, '/')
		t.dir, t.base = path[:slash+1], path[slash+1:]
		if t.base == "" {
			return opError("open", path, unix.EISDIR)
		}
		if t.dir == "" {
			t.dir = "."
		}
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err == unix.ENOENT {
			t.exists = false
			return nil
		}
		if err != nil {
			return opError("open", path, err)
		}
		t.exists, t.mode = true, st.Mode
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return opError("open", path, unix.EISDIR)
		case unix.S_IFLNK:
			var buf [unix.PathMax]byte
			n, err := unix.Readlink(path, buf[:])
			if err != nil {
				return opError("readlink", path, err)
			}
			to := string(buf[:n])
			if !strings.HasPrefix(to, "/") {
				to = path[:slash+1] + to
			}
			path = to
		default:
			return nil
		}
	}
	return opError("open", t.path, unix.ELOOP)
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
