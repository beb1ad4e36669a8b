package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// WriteStart writes the first bytes of an empty file, which shows whether the disk has room. It
// closes fd on an error.
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

// openUnnamed opens a file without a name in dir. It vanishes when it is closed.
func openUnnamed(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return fd, err
	}
	// Without O_TMPFILE, as on overlayfs before Linux 6.1, a named file is unlinked at once.
	fd, name, err := createTemp(unix.AT_FDCWD, dir+"/")
	if err == nil {
		unix.Unlink(name)
	}
	return fd, err
}

// createTemp creates a file whose name begins with prefix. No other program can guess the rest and
// take the name first.
func createTemp(dir int, prefix string) (fd int, name string, err error) {
	for range 8 {
		name = prefix + sys.TempName()
		const flags = unix.O_CREAT | unix.O_EXCL | unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = sys.Openat(dir, name, flags, 0o600)
		if err != unix.EEXIST {
			break
		}
	}
	return fd, name, err
}

// WriteAt writes all of b at offset, unless an error stops it. It returns how many bytes it wrote.
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
