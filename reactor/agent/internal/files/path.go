package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// OpenAt opens a path relative to an open directory. With safe it is openat2(2) with
// RESOLVE_NO_SYMLINKS: a symbolic link anywhere in the path is ELOOP. A kernel before 5.6 has no
// openat2, which is ENOSYS.
func OpenAt(dir int, path string, flags int, safe bool) (int, error) {
	flags |= unix.O_CLOEXEC
	if !safe {
		return sys.Openat(dir, path, flags, 0)
	}
	return unix.Openat2(dir, path, &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS})
}

// WorkDir opens a directory for calls that are relative to it. With parents it makes what is missing
// of the path, with mode 0755 whatever the umask is.
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
		step := dir[begin:max(end, 1)] // the first slash of an absolute path is a step
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

// split splits a path into its directory, which is never empty, and its last name without slashes at
// the end. The name is empty if the path names no entry of a directory: the empty path, /, . and ..
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

// Entry is a name in a directory that is held open, so that the path to it is resolved once.
type Entry struct {
	Dir  int
	Base string
}

// OpenEntry opens the directory that a path is in. The path itself need not exist, and is not
// followed. op is the operation that an error names. Close releases the entry.
func OpenEntry(op, path string, safe, parents bool) (Entry, error) {
	dir, base := splitPath(path)
	switch {
	case path == "":
		return Entry{}, sys.NewError(op, "path", unix.ENOENT)
	case len(path) >= framing.MaxPath:
		return Entry{}, sys.NewError(op, "path", unix.ENAMETOOLONG) // of which the kernel would see only a part
	case base == "":
		return Entry{}, sys.NewError(op, path, unix.EINVAL)
	}
	fd, err := WorkDir(dir, safe, parents)
	return Entry{fd, base}, err
}

// Close closes the directory.
func (e Entry) Close() { unix.Close(e.Dir) }

// OpenContent opens the content of a regular file or a block device. It refuses any other file before
// it opens it, because that has an effect: it waits for the other end of a FIFO, or rewinds a tape.
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
	content, err := OpenAt(unix.AT_FDCWD, sys.FDPath(fd), flags|unix.O_NONBLOCK|unix.O_NOCTTY, false)
	return content, sys.Wrap("open", path, err)
}
