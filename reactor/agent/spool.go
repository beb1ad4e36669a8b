package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// openSpool opens a file without a name, in the first directory that takes one and what it is to begin with.
func (a *Agent) openSpool(first, second []byte) (fd int, err error) {
	err = unix.ENOENT
	for _, dir := range a.spools {
		if dir == "" {
			continue
		}
		if fd, err = unnamed(dir); err == nil {
			if err = begin(fd, first, second); err == nil {
				return fd, nil
			}
		}
	}
	return -1, sys.NewError("open", "spool file", err)
}

// begin writes the beginning of a file, and closes it if that cannot be: a disk that is full still takes an empty file.
func begin(fd int, first, second []byte) error {
	n, err := writeAt(fd, first, 0)
	if err == nil {
		_, err = writeAt(fd, second, int64(n))
	}
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// unnamed opens a file in dir that is gone when it is closed.
func unnamed(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return fd, err
	}
	// A file system without O_TMPFILE, as overlayfs was: a file that loses its name at once.
	fd, name, err := createTemp(unix.AT_FDCWD, dir+"/")
	if err == nil {
		unix.Unlink(name)
	}
	return fd, err
}

// createTemp creates a file whose name begins with prefix and cannot be guessed: names that can be
// are taken by others beforehand.
func createTemp(dir int, prefix string) (fd int, name string, err error) {
	for range 8 {
		name = prefix + sys.TempName()
		fd, err = sys.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != unix.EEXIST {
			break
		}
	}
	return fd, name, err
}

// writeAt writes all of b, unless there is an error before.
func writeAt(fd int, b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		m, err := sys.Pwrite(fd, b[n:], offset+int64(n))
		switch {
		case err != nil:
			return n, err
		case m == 0:
			return n, unix.EIO
		default:
			n += m
		}
	}
	return n, nil
}
