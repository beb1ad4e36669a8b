package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// openAt opens a path, as it is known from an open directory. With safe it is openat2(2) with RESOLVE_NO_SYMLINKS: a path with a symbolic
// link in it, wherever, is ELOOP. A kernel before 5.6 has no openat2, and says so with ENOSYS.
func openAt(dir int, path string, flags int, safe bool) (int, error) {
	flags |= unix.O_CLOEXEC
	if !safe {
		return sys.Openat(dir, path, flags, 0)
	}
	return unix.Openat2(dir, path, &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS})
}

// workDir opens a directory to work in. What is missing of it is made if parents says so, 0755 whatever the umask.
func workDir(dir string, safe, parents bool) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := openAt(unix.AT_FDCWD, dir, flags, safe)
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
		next, err := openAt(at, step, flags, safe)
		if err == unix.ENOENT {
			op, err = "mkdir", unix.Mkdirat(at, step, 0o755)
			if err == nil || err == unix.EEXIST {
				op = "open"
				next, err = openAt(at, step, flags, safe)
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

// split takes a path apart into the directory, which is never empty, and the last name, without slashes at its end. The name is empty for
// what is no entry of a directory: nothing, /, . and ..
func split(path string) (dir, base string) {
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

// entry is a name in a directory that is held open, so that what leads there is resolved once.
type entry struct {
	dir  int
	base string
}

// openEntry finds the directory that a path is in. The path itself need not be there, and is not followed.
func openEntry(op, path string, safe, parents bool) (entry, error) {
	dir, base := split(path)
	switch {
	case path == "":
		return entry{}, sys.NewError(op, "path", unix.ENOENT)
	case len(path) >= framing.MaxPath:
		return entry{}, sys.NewError(op, "path", unix.ENAMETOOLONG) // of which the kernel would see only a part
	case base == "":
		return entry{}, sys.NewError(op, path, unix.EINVAL)
	}
	fd, err := workDir(dir, safe, parents)
	return entry{fd, base}, err
}

func (e entry) close() { unix.Close(e.dir) }

// openContent opens a file's content: that of a regular file or a block device. All else is refused before it is opened, for that alone
// can do something: wait for the other end of a FIFO, or rewind a tape.
func openContent(path string, flags int, safe bool) (int, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_PATH, safe)
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
	content, err := openAt(unix.AT_FDCWD, sys.FDPath(fd), flags|unix.O_NONBLOCK|unix.O_NOCTTY, false)
	return content, sys.Wrap("open", path, err)
}
