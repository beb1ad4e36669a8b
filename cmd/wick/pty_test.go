package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/client/clienttest"
)

// A typist runs wick on a terminal of its own, and types.
type typist struct {
	t      *testing.T
	fd     int // of the master
	master *os.File
	slave  *os.File
	before *unix.Termios
	cmd    *exec.Cmd
	seen   []byte // and not yet waited for
	ended  chan error
}

// typing starts wick on a new terminal of that size.
func typing(t *testing.T, socket string, rows, cols uint16, args ...string) *typist {
	t.Helper()
	return typingOn(t, socket, rows, cols, func(*unix.Termios) {}, args...)
}

// typingWith starts wick on a new terminal with other modes.
func typingWith(t *testing.T, socket string, change func(*unix.Termios), args ...string) *typist {
	t.Helper()
	return typingOn(t, socket, 24, 80, change, args...)
}

func typingOn(t *testing.T, socket string, rows, cols uint16, change func(*unix.Termios), args ...string) *typist {
	t.Helper()
	return typingTo(t, socket, rows, cols, change, append([]string{"wick"}, args...)...)
}

// typingTo starts a program on a new terminal, which may be a shell that starts wick.
func typingTo(t *testing.T, socket string, rows, cols uint16, change func(*unix.Termios), args ...string) *typist {
	t.Helper()
	// A non-blocking descriptor can be closed during a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	p := &typist{t: t, fd: fd, master: master, ended: make(chan error, 1)}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		p.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.slave.Close() })
	p.resize(rows, cols)
	modes := p.termios()
	change(modes)
	if err := unix.IoctlSetTermios(int(p.slave.Fd()), unix.TCSETS, modes); err != nil {
		t.Fatal(err)
	}
	p.before = p.termios()
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), "WICK_TO=unix:"+socket, "TERM=vt100", "PS1=guest> ")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

func (p *typist) termios() *unix.Termios {
	p.t.Helper()
	state, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return state
}

func (p *typist) resize(rows, cols uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(p.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *typist) keys(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// until reads what appears until the text has.
func (p *typist) until(text string) {
	p.t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { p.master.Close() })
	defer timer.Stop()
	for buf := make([]byte, 4096); ; {
		if i := bytes.Index(p.seen, []byte(text)); i >= 0 {
			p.seen = p.seen[i+len(text):]
			return
		}
		n, err := p.master.Read(buf)
		p.seen = append(p.seen, buf[:n]...)
		if err != nil {
			p.t.Fatalf("%v while waiting for %q; there is %q", err, text, p.seen)
		}
	}
}

// untilRaw waits until keys go to the guest.
func (p *typist) untilRaw() {
	p.t.Helper()
	for p.termios().Lflag&unix.ICANON != 0 {
		select {
		case err := <-p.ended:
			p.t.Fatalf("it has ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// expectEnd expects wick to end with that code, and the terminal as it was.
func (p *typist) expectEnd(code int) {
	p.t.Helper()
	select {
	case err := <-p.ended:
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
	case <-time.After(20 * time.Second):
		p.t.Fatal("it does not end")
	}
	if after := p.termios(); !reflect.DeepEqual(after, p.before) {
		p.t.Errorf("the terminal is %+v, and was %+v", after, p.before)
	}
}

func agentSocket(t *testing.T) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	a, err := clienttest.StartAgent(socket)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() { a.Stop() }
	t.Cleanup(stop)
	return socket, stop
}
