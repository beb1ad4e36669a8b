//go:build linux || darwin

package terminal

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminalSignals has the signals that concern a terminal in another mode.
var terminalSignals = []os.Signal{syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT}

// sizePolls returns nil, because SIGWINCH tells of each size.
func sizePolls() <-chan time.Time { return nil }

// Raw sets a terminal's raw mode.
func Raw(fd int) (*term.State, error) { return term.MakeRaw(fd) }

// Lines has a terminal pass lines on, as it does by default. A line also ends with the second of
// the detach keys, which would otherwise be taken for flow control.
func Lines(fd int) (*term.State, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	m, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	m.Iflag &^= unix.IXON
	m.Cc[unix.VEOL] = detachSecond
	return state, unix.IoctlSetTermios(fd, setTermios, m)
}

func (r *Terminal) handle(sig os.Signal) {
	switch sig {
	case syscall.SIGWINCH:
		r.Resized()
	case syscall.SIGTSTP:
		// The shell gets its terminal back, and SIGCONT makes it raw again. The process
		// may not have stopped yet when Kill returns.
		r.cook()
		syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
	case syscall.SIGCONT:
		r.raw()
		r.Resized()
	}
}
