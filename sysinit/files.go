//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// maxSmall limits how many bytes of a file are read.
const maxSmall = 64 << 10

// readSmall returns the content of a regular file, up to maxSmall bytes. It returns EINVAL for any
// other file.
func readSmall(path string) ([]byte, error) { return readUpTo(path, maxSmall) }

// readUpTo is readSmall with another limit.
func readUpTo(path string, limit int64) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unix.EINVAL
	}
	// Files of sysfs report a size of 4096 bytes whatever they hold.
	text := make([]byte, min(st.Size, limit))
	n := 0
	for n < len(text) {
		got, err := unix.Read(fd, text[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if got == 0 {
			break
		}
		n += got
	}
	return text[:n], nil
}

// rewrite replaces a file's content in place and creates a missing file. If the content does not
// fit, the file becomes empty, so that the next boot finds it as this one did. An empty file loses
// its execute bits, because docker export leaves mode 0755 at former mount points.
func rewrite(path, text string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fault("open", path, "", err, "")
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fault("stat", path, "", err, "")
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		return fault("truncate", path, "", err, "")
	}
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err != nil {
		unix.Ftruncate(fd, 0)
		return fault("write", path, "", err, "")
	}
	if st.Size == 0 && st.Mode&0o111 != 0 {
		unix.Fchmod(fd, 0o644)
	}
	return nil
}
