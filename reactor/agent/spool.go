package agent

import (
	"strings"

	"golang.org/x/sys/unix"
)

// openSpool opens a file without a name in the first directory that takes one: $TMPDIR, /tmp, /var/tmp.
func openSpool(env []string) (fd int, err error) {
	dirs := []string{"", "/tmp", "/var/tmp"}
	for _, e := range env {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			dirs[0] = dir
		}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if fd, err = unnamed(dir); err == nil {
			return fd, nil
		}
	}
	return -1, err
}

// unnamed opens a file in dir that is gone when it is closed.
func unnamed(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return fd, wrapOp("open", dir, err)
	}
	// A file system without O_TMPFILE, as overlayfs was: a file that loses its name at once.
	name := dir + "/.wick-spool-" + num(unix.Getpid())
	fd, err = unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		unix.Unlink(name)
	}
	return fd, wrapOp("open", dir, err)
}
