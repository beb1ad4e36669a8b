package machine

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// generation is a file with the epoch, a decimal line. Programs watch it by inotify(7). So it is
// never replaced, but written in place, in one call, and closed: IN_MODIFY and IN_CLOSE_WRITE. The
// zero generation is no file.
type generation struct{ fd int }

// open makes the file, with epoch 0. An empty path makes none.
func (g *generation) open(path string) (err error) {
	if path == "" {
		return nil
	}
	unix.Mkdir(path[:max(sys.LastSlash(path), 0)], 0o755)
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0o644)
	if err != nil {
		return sys.NewError("open", path, err)
	}
	unix.Fchmod(fd, 0o644) // whatever the umask
	g.fd = fd
	return sys.Wrap("write", path, g.write(0))
}

// write writes the epoch. The file stays the one that open has made, even if its path now leads
// elsewhere.
func (g *generation) write(epoch uint64) error {
	if g.fd == 0 {
		return nil
	}
	line := []byte(sys.Num(int64(epoch)) + "\n")
	fd, err := unix.Open(sys.FDPath(g.fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		_, err = unix.Pwrite(g.fd, line, 0) // without descriptors or /proc: only IN_MODIFY
		return err
	}
	_, err = unix.Pwrite(fd, line, 0)
	unix.Close(fd)
	return err
}

func (g *generation) close() {
	if g.fd != 0 {
		unix.Close(g.fd)
		g.fd = 0
	}
}
