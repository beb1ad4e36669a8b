//go:build linux

// Package typist types at programs on terminals of their own, in tests.
package typist

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience limits each wait for a program. Without [Typist.Patience] it is this.
const patience = 20 * time.Second

// Typist has the two ends of a terminal, and the program on it.
type Typist struct {
	Cmd           *exec.Cmd
	Master, Slave *os.File
	// Patience limits each wait.
	Patience time.Duration
	// Before has the modes of the terminal when the program was started.
	Before *unix.Termios
	// Ended gets the result of Cmd.Wait.
	Ended chan error

	t    *testing.T
	fd   int    // of the master
	seen []byte // and not yet waited for
}

// Start starts cmd on a new terminal of that size. change changes its modes first, unless it is
// nil.
func Start(t *testing.T, rows, cols uint16, change func(*unix.Termios), cmd *exec.Cmd) *Typist {
	t.Helper()
	// A non-blocking descriptor can be closed during a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	p := &Typist{t: t, fd: fd, Cmd: cmd, Master: master, Patience: patience, Ended: make(chan error, 1)}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		p.Slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Slave.Close() })
	p.Resize(rows, cols)
	if change != nil {
		modes := p.Termios()
		change(modes)
		if err := unix.IoctlSetTermios(int(p.Slave.Fd()), unix.TCSETS, modes); err != nil {
			t.Fatal(err)
		}
	}
	p.Before = p.Termios()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Slave, p.Slave, p.Slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.Ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return p
}

// Termios returns the modes of the terminal.
func (p *Typist) Termios() *unix.Termios {
	p.t.Helper()
	state, err := unix.IoctlGetTermios(int(p.Slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return state
}

// Resize changes the size of the terminal.
func (p *Typist) Resize(rows, cols uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(p.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

// Keys types keys.
func (p *Typist) Keys(keys string) {
	p.t.Helper()
	if _, err := p.Master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// Until reads what appears until the text has.
func (p *Typist) Until(text string) {
	p.t.Helper()
	timer := time.AfterFunc(p.Patience, func() { p.Master.Close() })
	defer timer.Stop()
	for buf := make([]byte, 4096); ; {
		if i := bytes.Index(p.seen, []byte(text)); i >= 0 {
			p.seen = p.seen[i+len(text):]
			return
		}
		n, err := p.Master.Read(buf)
		p.seen = append(p.seen, buf[:n]...)
		if err != nil {
			p.t.Fatalf("%v while waiting for %q; there is %q", err, text, p.seen)
		}
	}
}

// UntilRaw waits until keys go to the guest.
func (p *Typist) UntilRaw() {
	p.t.Helper()
	for p.Termios().Lflag&unix.ICANON != 0 {
		select {
		case err := <-p.Ended:
			p.t.Fatalf("it has ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// ExpectEnd expects the program to end with that code, and the terminal as it was.
func (p *Typist) ExpectEnd(code int) {
	p.t.Helper()
	select {
	case err := <-p.Ended:
		got := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got = exit.ExitCode()
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
				got = 128 + int(status.Signal())
			}
		} else if err != nil {
			p.t.Fatal(err)
		}
		if got != code {
			p.t.Errorf("exit code %d, want %d", got, code)
		}
	case <-time.After(p.Patience):
		p.t.Fatal("it does not end")
	}
	if after := p.Termios(); !reflect.DeepEqual(after, p.Before) {
		p.t.Errorf("the terminal is %+v, and was %+v", after, p.Before)
	}
}

// HangUp closes the terminal, as a terminal emulator does whose window is closed, and returns how
// the program ended.
func (p *Typist) HangUp() int {
	p.t.Helper()
	p.Slave.Close()
	p.Master.Close()
	select {
	case <-p.Ended:
	case <-time.After(p.Patience):
		p.t.Fatal("it does not end without its terminal")
	}
	return p.Cmd.ProcessState.ExitCode()
}
