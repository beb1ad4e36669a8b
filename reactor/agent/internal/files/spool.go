package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// WriteStart writes the first bytes of an empty file, and closes the file if that fails. A full disk
// still takes an empty file.
func WriteStart(fd int, first, second []byte) error {
	n, err := WriteAt(fd, first, 0)
	if err == nil {
		_, err = WriteAt(fd, second, int64(n))
	}
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// unnamed opens a file in dir that has no name, so that it is gone when it is closed.
func openUnnamed(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return fd, err
	}
	// A file system without O_TMPFILE, as overlayfs was: the file loses its name at once.
	fd, name, err := createTemp(unix.AT_FDCWD, dir+"/")
	if err == nil {
		unix.Unlink(name)
	}
	return fd, err
}

// createTemp creates a file whose name begins with prefix and cannot be guessed, so that no other
// program takes the name before.
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

// WriteAt writes all of b at an offset, unless an error comes before.
func WriteAt(fd int, b []byte, offset int64) (n int, err error) {
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
