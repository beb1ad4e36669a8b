package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
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
	p.cmd = exec.Command("wick", args...)
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

// TestTerminal types at a terminal like a user.
func TestTerminal(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 33, 77, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.until("guest> ")
	if state := p.termios(); state.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %+v", state)
	}
	p.keys("stty size; echo $TERM\r")
	p.until("\r\n33 77\r\nvt100\r\n")
	p.resize(11, 99)
	p.keys("until [ \"$(stty size)\" = '11 99' ]; do :; done; echo it\"\"is\r")
	p.until("itis\r\n")
	p.keys("cat\r")
	p.keys("mirror\r")
	p.until("mirror\r\n") // typed
	p.until("mirror\r\n") // and said by cat
	p.keys("\x03")
	p.until("^C")
	p.until("guest> ")
	p.keys("exit 7\r")
	p.expectEnd(7)
}

// TestTerminalModes checks that the guest's terminal has the modes and keys of the local one.
func TestTerminalModes(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "-c", "stty -a; stty -echo; echo ready; exec head -n 1")
	p.until("intr = ^C; quit = ^\\; erase = ^?;") // those of a new terminal
	p.until("-iutf8")
	p.until("ready")
	p.keys("\x03")
	p.expectEnd(130)

	p = typingWith(t, socket, func(m *unix.Termios) {
		m.Iflag |= unix.IUTF8
		m.Oflag |= unix.OCRNL
		m.Lflag &^= unix.ECHOK
		m.Cc[unix.VERASE], m.Cc[unix.VINTR] = '\b', 'T'-'@'
	}, "exec", "-it", "-c", "stty -a; stty -echo; echo ready; exec head -n 1")
	p.until("intr = ^T; quit = ^\\; erase = ^H;")
	p.until(" iutf8")
	p.until(" ocrnl")
	p.until(" -echok ")
	p.until("ready")
	p.keys("aé\bb\r")
	p.until("ab")
	p.expectEnd(0)
}

// TestTerminalWithoutSize, as a serial line, has the usual one in the guest.
func TestTerminalWithoutSize(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 0, 0, "exec", "-it", "--", "stty", "size")
	p.until("24 80\r\n")
	p.expectEnd(0)
}

// TestTerminalWaysOut checks that every exit leaves the terminal as it was.
func TestTerminalWaysOut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out limits of seconds: run without -short")
	}
	for name, test := range map[string]struct {
		out  func(p *typist, stopAgent func())
		code int
	}{
		"TERM":            {func(p *typist, _ func()) { p.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		"HUP":             {func(p *typist, _ func()) { p.cmd.Process.Signal(syscall.SIGHUP) }, 129},
		"INT from others": {func(p *typist, _ func()) { p.cmd.Process.Signal(syscall.SIGINT) }, 130},
		// The shell takes no notice of it, and the keys go on.
		"QUIT":     {func(p *typist, _ func()) { p.cmd.Process.Signal(syscall.SIGQUIT); p.keys("exit 9\r") }, 9},
		"no agent": {func(_ *typist, stop func()) { stop() }, 125},
		"killed":   {func(p *typist, _ func()) { p.keys("kill -KILL $$\r") }, 137},
	} {
		t.Run(name, func(t *testing.T) {
			socket, stop := agentSocket(t)
			p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
			p.until("guest> ")
			go func() { // keeps the writer from blocking
				for buf := make([]byte, 4096); ; {
					if _, err := p.master.Read(buf); err != nil {
						return
					}
				}
			}()
			test.out(p, stop)
			p.expectEnd(test.code)
		})
	}
}

// TestTerminalStopped by another process is a shell's matter, and goes on as it was.
func TestTerminalStopped(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.until("guest> ")
	p.cmd.Process.Signal(syscall.SIGTSTP)
	for !stopped(t, p.cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	if state := p.termios(); !reflect.DeepEqual(state, p.before) {
		t.Errorf("while it is stopped the terminal is %+v", state)
	}
	p.resize(9, 90)
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.keys("until [ \"$(stty size)\" = '9 90' ]; do :; done; echo it\"\"is\r")
	p.until("itis\r\n")
	p.keys("exit\r")
	p.expectEnd(0)
}

func stopped(t *testing.T, pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(stat), ") T ")
}

// TestDetachKeys are keys like any other, one without the other.
func TestDetachKeys(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--keep", "1m", "--", "cat")
	p.untilRaw()
	p.keys("a\x10\x10b\r")
	p.until("a\x10\x10b\r\n")
	p.keys("\x10\x11")
	p.until("wick attach ")
	p.until("\n")
	p.expectEnd(0)
}

// between takes one connection for the agent at a socket, until cut cuts it and is there no more.
func between(t *testing.T, agent string) (socket string, cut func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "between")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 2)
	go func() {
		defer close(conns)
		ours, err := ln.Accept()
		ln.Close()
		if err != nil {
			return
		}
		theirs, err := net.Dial("unix", agent)
		if err != nil {
			ours.Close()
			return
		}
		conns <- ours
		conns <- theirs
		go io.Copy(ours, theirs)
		io.Copy(theirs, ours)
	}()
	cut = func() {
		ln.Close()
		for range 2 {
			if conn := <-conns; conn != nil {
				conn.Close()
			}
		}
	}
	t.Cleanup(func() { ln.Close() })
	return socket, cut
}

// TestDetachKeysWhileLost leaves an unreachable command, by the detach keys and by giving up.
func TestDetachKeysWhileLost(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out limits of seconds: run without -short")
	}
	for name, test := range map[string]struct {
		keys, timeout string
		code          int
	}{
		"left":                     {"\x10\x11", "1h", 0},
		"given up":                 {"", "2s", 125},
		"given up by Ctrl-C":       {"\x03\x03", "1h", 130},
		"given up, after typing":   {"some text\r\x03\x03", "0", 130},
		"given up, with more":      {strings.Repeat("x", 2*keysKept) + "\x03\x03", "1h", 130},
		"given up while one types": {"rm -rf important\r", "2s", 125},
	} {
		t.Run(name, func(t *testing.T) {
			agent, _ := agentSocket(t)
			socket, cut := between(t, agent)
			p := typing(t, socket, 24, 80, "--connect-timeout", test.timeout, "exec", "-it", "--keep", "1m", "--", "cat")
			p.untilRaw()
			p.keys("a\r")
			p.until("a\r\na\r\n")
			cut()
			p.until("attaching again")
			go p.master.WriteString(test.keys) // which waits for wick to read
			p.until("wick attach ")
			p.until("\n")
			p.expectEnd(test.code)
			if n, err := unix.IoctlGetInt(int(p.slave.Fd()), unix.TIOCINQ); n != 0 || err != nil {
				t.Errorf("TIOCINQ = %d, %v: what was typed is left for the shell", n, err)
			}
		})
	}
}

// TestKeysWhileLost types while there is no connection. The command must get all keys in order.
func TestKeysWhileLost(t *testing.T) {
	agent, _ := agentSocket(t)
	socket, cut := between(t, agent)
	p := typing(t, socket, 24, 80, "--connect-timeout", "1h", "exec", "-it", "--keep", "1m", "--", "sh", "-c", "stty -echo; while read x; do echo got $x; done")
	p.untilRaw()
	p.keys("one\r")
	p.until("got one\r\n")
	cut()
	p.until("attaching again")
	p.keys("two\rthree\r")
	for n := 1; n > 0; time.Sleep(time.Millisecond) { // until wick has read it
		var err error
		if n, err = unix.IoctlGetInt(int(p.slave.Fd()), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(agent, socket); err != nil {
		t.Fatal(err)
	}
	p.until("got two\r\ngot three\r\n")
	p.keys("four\r\x04")
	p.until("got four\r\n")
	p.expectEnd(0)
}

// TestShell is whatever shell this machine gives to who runs the tests, in their home.
func TestShell(t *testing.T) {
	socket, _ := agentSocket(t)
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip("the user of the tests must be in /etc/passwd")
	}
	if _, err := os.Stat(me.HomeDir); err != nil {
		t.Skipf("the user of the tests must have a home directory: %v", err)
	}
	p := typing(t, socket, 24, 80, "shell", "--env", "MARK=here")
	p.until(" ") // its prompt, whatever that is
	p.keys("echo \"<$MARK $PWD>\"\r")
	p.until("<here " + me.HomeDir + ">")
	p.keys("exit 5\r")
	p.expectEnd(5)
}

// TestDetach leaves a command running, and has it again.
func TestDetach(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--keep", "forever", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.until("guest> ")
	p.keys("x=kept; echo $x$x\r")
	p.until("keptkept\r\n")
	p.keys("echo <$x>\x10\x11")
	p.until("wick attach ")
	p.until("\n")
	p.expectEnd(0)
	out, err := exec.Command("wick", "--to", "unix:"+socket, "ps").Output()
	if err != nil || !strings.Contains(string(out), "alone t") {
		t.Fatalf("%s, %v", out, err)
	}
	id := strings.Fields(strings.Split(string(out), "\n")[1])[0]
	p = typing(t, socket, 24, 80, "attach", id[:6])
	p.untilRaw()
	p.keys("\x15echo \"[$x]\"; exit 3\r") // behind what was typed and not sent
	p.until("[kept]\r\n")
	p.expectEnd(3)
}

// TestDetachWithoutTerminal has the detach keys leave a command that gets lines.
func TestDetachWithoutTerminal(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-i", "--keep", "forever", "-c", "echo ready; while read x; do echo got $x; done")
	p.until("ready\r\n")
	p.keys("one\r")
	p.until("got one\r\n")
	p.keys("\x10\x11")
	p.until("wick attach ")
	p.until("\n")
	p.expectEnd(0)
	out, err := exec.Command("wick", "--to", "unix:"+socket, "ps").Output()
	if err != nil || !strings.Contains(string(out), "alone ") {
		t.Fatalf("%s, %v", out, err)
	}
	id := strings.Fields(strings.Split(string(out), "\n")[1])[0]
	p = typing(t, socket, 24, 80, "attach", id)
	p.keys("two\r")
	p.until("got two\r\n")
	p.keys("\x03") // Ctrl-C
	p.until("left it running")
	p.expectEnd(130)
	p = typing(t, socket, 24, 80, "attach", id)
	p.keys("\x04") // Ctrl-D
	p.expectEnd(0)
}
