package launch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// OpenTerminal opens a pseudoterminal; pty(7). master, the agent's side, is non-blocking; slave,
// the process's side, is not. The caller owns both.
func OpenTerminal(rows, columns uint16) (master, slave int, err error) {
	const name = "/dev/ptmx"
	master, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, sys.NewError("open", name, err)
	}
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err == nil {
		// A path could lead to the devpts of another mount namespace.
		var fd uintptr
		var errno unix.Errno
		const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
		fd, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
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

// SetModes sets the modes of a new terminal, except its speed and character size. Without modes it
// does nothing.
func SetModes(fd int, m *framing.Modes) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if len(m.Chars) == 0 || err != nil {
		return
	}
	t.Iflag, t.Oflag, t.Lflag = m.Input, m.Output, m.Local
	copy(t.Cc[:], m.Chars)
	unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// ResizeTerminal sets the size of a terminal. The kernel sends SIGWINCH to the foreground process
// group if the size is new.
func ResizeTerminal(fd int, rows, columns uint16) {
	unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// TerminalEOF returns the character that ends a terminal's input; 0 without one. lines reports
// canonical mode. In raw mode the process interprets the character, as a shell with line editing
// does.
func TerminalEOF(fd int) (char byte, lines bool) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return 0, false
	}
	return t.Cc[unix.VEOF], t.Lflag&unix.ICANON != 0
}

// Foreground returns the foreground process group of a terminal; 0 without one.
func Foreground(fd int) int {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group < 0 {
		return 0
	}
	return group
}
