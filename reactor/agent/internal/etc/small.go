package etc

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

// MaxSize is the longest file that Read takes, in bytes.
const MaxSize = 16 << 10

// Read reads a regular file, such as one of /etc. The errno is EFBIG for a longer one.
func Read(path string) (string, unix.Errno) {
	fd, err := files.OpenContent(path, unix.O_RDONLY|unix.O_CLOEXEC, false)
	if err != nil {
		return "", sys.ErrnoOf(err)
	}
	b := make([]byte, MaxSize+1)
	n, err := unix.Pread(fd, b, 0) // a regular file's read is whole
	unix.Close(fd)
	if n > MaxSize {
		err = unix.EFBIG
	}
	return string(b[:max(n, 0)]), sys.ErrnoOf(err)
}

// Replace gives a small file a new content and mode in one step. A symbolic link, as systemd's
// images have for resolv.conf, is replaced. A mount point, which cannot be replaced, is written in
// place.
func Replace(path, text string, mode uint32) unix.Errno {
	temporary := path + ".wick"
	unix.Unlink(temporary)
	errno := write(temporary, unix.O_EXCL, text, mode)
	if errno == 0 {
		errno = sys.ErrnoOf(unix.Rename(temporary, path))
	}
	if errno != 0 {
		unix.Unlink(temporary)
	}
	if errno == unix.EBUSY {
		errno = Overwrite(path, text, mode)
	}
	return errno
}

// Overwrite writes a small file in place.
func Overwrite(path, text string, mode uint32) unix.Errno {
	return write(path, unix.O_TRUNC|unix.O_NONBLOCK, text, mode)
}

func write(path string, flags int, text string, mode uint32) unix.Errno {
	flags |= unix.O_WRONLY | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, mode)
	if err != nil {
		return sys.ErrnoOf(err)
	}
	unix.Fchmod(fd, mode) // whatever the umask
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC // the only reason why a regular file takes less
	}
	unix.Close(fd)
	return sys.ErrnoOf(err)
}
