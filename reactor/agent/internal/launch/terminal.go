package launch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// OpenTerminal makes a terminal; pty(7). The agent's side of it, master, does not block, and the
// process's side does. The caller owns both.
func OpenTerminal(rows, columns uint16) (master, slave int, err error) {
	const name = "/dev/ptmx"
	master, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, sys.NewError("open", name, err)
	}
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err == nil {
		// By a path it might be one of another mount namespace.
		var fd uintptr
		var errno unix.Errno
		fd, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if slave = int(fd); errno != 0 {
			err = errno
		}
	}
	if err != nil {
		unix.Close(master)
		return -1, -1, sys.NewError("open", "terminal", err)
	}
	ResizeTerminal(master, rows, columns)
	return master, slave, nil
}

// SetModes sets the modes of a new terminal, if there are any, but not its speed and character size.
func SetModes(fd int, m *framing.Modes) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if len(m.Chars) == 0 || err != nil {
		return
	}
	t.Iflag, t.Oflag, t.Lflag = m.Input, m.Output, m.Local
	copy(t.Cc[:], m.Chars)
	unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// ResizeTerminal sets the size of a terminal. The kernel tells its foreground processes of a new size.
func ResizeTerminal(fd int, rows, columns uint16) {
	unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// TerminalEOF returns the character that ends a terminal's input, 0 if there is none, and whether it
// is read by lines. If it is not, the process decides what the character means: a shell that edits
// its own line takes it for the end too.
func TerminalEOF(fd int) (char byte, lines bool) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return 0, false
	}
	return t.Cc[unix.VEOF], t.Lflag&unix.ICANON != 0
}

// Foreground returns the process group in the foreground of a terminal, or 0.
func Foreground(fd int) int {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group < 0 {
		return 0
	}
	return group
}
