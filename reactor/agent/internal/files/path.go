package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// OpenAt opens path relative to dir. With safe, a symbolic link anywhere in the path fails with
// ELOOP (openat2(2), RESOLVE_NO_SYMLINKS). Kernels before 5.6 have no openat2 and fail with ENOSYS.
func OpenAt(dir int, path string, flags int, safe bool) (int, error) {
	flags |= unix.O_CLOEXEC
	if !safe {
		return sys.Openat(dir, path, flags, 0)
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS}
	return unix.Openat2(dir, path, &how)
}

// WorkDir opens a directory with O_PATH. With parents it makes missing directories, with mode 0755
// whatever the umask. The caller owns the descriptor.
func WorkDir(dir string, safe, parents bool) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := OpenAt(unix.AT_FDCWD, dir, flags, safe)
	if err == nil {
		return fd, nil
	}
	if err != unix.ENOENT || !parents {
		return -1, sys.NewError("open", dir, err)
	}
	defer unix.Umask(unix.Umask(0))
	at := unix.AT_FDCWD
	for begin, end := 0, 0; begin < len(dir); begin = end {
		for end < len(dir) && dir[end] != '/' {
			end++
		}
		step := dir[begin:max(end, 1)] // the first step of an absolute path is its slash
		for end < len(dir) && dir[end] == '/' {
			end++
		}
		op := "open"
		next, err := OpenAt(at, step, flags, safe)
		if err == unix.ENOENT {
			op, err = "mkdir", unix.Mkdirat(at, step, 0o755)
			if err == nil || err == unix.EEXIST {
				op = "open"
				next, err = OpenAt(at, step, flags, safe)
			}
		}
		if at != unix.AT_FDCWD {
			unix.Close(at)
		}
		if err != nil {
			return -1, sys.NewError(op, dir[:end], err)
		}
		at = next
	}
	return at, nil
}

// splitPath splits a path into its directory, which is never empty, and its last name. It ignores
// trailing slashes. The name is empty if the path names no directory entry: "", /, . and ..
func splitPath(path string) (dir, base string) {
	for len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	slash := sys.LastSlash(path)
	if dir, base = path[:slash+1], path[slash+1:]; dir == "" {
		dir = "."
	}
	if base == "." || base == ".." {
		base = ""
	}
	return dir, base
}

// Entry is a name in a directory that is held open. The path to it is resolved only once.
type Entry struct {
	Dir  int
	Base string
}

// OpenEntry opens the directory of path. The last name need not exist, and is not followed. op is
// the operation that errors name. The caller closes the entry.
func OpenEntry(op, path string, safe, parents bool) (Entry, error) {
	dir, base := splitPath(path)
	switch {
	case path == "":
		return Entry{}, sys.NewError(op, "path", unix.ENOENT)
	case len(path) >= framing.MaxPath:
		// The kernel sees the directory and the name separately, and either may be short enough.
		return Entry{}, sys.NewError(op, "path", unix.ENAMETOOLONG)
	case base == "":
		return Entry{}, sys.NewError(op, path, unix.EINVAL)
	}
	fd, err := WorkDir(dir, safe, parents)
	return Entry{fd, base}, err
}

// Close closes the directory.
func (e Entry) Close() { unix.Close(e.Dir) }

// OpenContent opens a regular file or a block device. It refuses other files before opening them,
// because that has an effect: a FIFO blocks, a tape rewinds.
func OpenContent(path string, flags int, safe bool) (int, error) {
	fd, err := OpenAt(unix.AT_FDCWD, path, unix.O_PATH, safe)
	if err != nil {
		return -1, sys.NewError("open", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, sys.NewError("fstat", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
	case unix.S_IFDIR:
		return -1, sys.NewError("open", path, unix.EISDIR)
	default:
		return -1, sys.NewError("open", path, unix.EINVAL)
	}
	flags |= unix.O_NONBLOCK | unix.O_NOCTTY
	content, err := OpenAt(unix.AT_FDCWD, sys.FDPath(fd), flags, false)
	return content, sys.Wrap("open", path, err)
}
