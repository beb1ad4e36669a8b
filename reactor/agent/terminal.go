package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// openTerminal makes a terminal. The agent's side of it does not wait, and the process's side does; pty(7).
func openTerminal(rows, columns uint16) (master, slave int, err error) {
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
	resizeTerminal(master, rows, columns)
	return master, slave, nil
}

// closeLine lets go of the process's side of the terminal. Until the process has exited it is not left to those who have it open: one that
// runs on without any of them may open /dev/tty again, and when our side is closed, which would then be at its end, it gets SIGHUP.
func (s *session) closeLine() {
	if s.line != 0 {
		unix.Close(s.line)
		s.line = 0
	}
}

// setModes gives a new terminal its modes, if there are any. Its speed and the size of its characters stay as they are.
func setModes(fd int, m *framing.Modes) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if len(m.Chars) == 0 || err != nil {
		return
	}
	t.Iflag, t.Oflag, t.Lflag = m.Input, m.Output, m.Local
	copy(t.Cc[:], m.Chars)
	unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// resizeTerminal sets its size, of which the processes in the foreground are told by the kernel, if it is another.
func resizeTerminal(fd int, rows, columns uint16) {
	unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// terminalEOF is the character that ends a terminal's input, 0 if it has none, and whether it is read by lines. Where it is not, what the
// character means is for the process to say: a shell that edits its line itself takes it for the end too.
func terminalEOF(fd int) (char byte, lines bool) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return 0, false
	}
	return t.Cc[unix.VEOF], t.Lflag&unix.ICANON != 0
}

// foreground is the process group that has the terminal, or 0.
func foreground(fd int) int {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group < 0 {
		return 0
	}
	return group
}
