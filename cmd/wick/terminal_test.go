package main

import (
	"os"
	"os/exec"
	"os/user"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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

// TestJobControlInGuest stops a job of the guest's shell by Ctrl-Z, and has it go on.
func TestJobControlInGuest(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.until("guest> ")
	p.keys("cat\r")
	p.until("cat\r\n")
	p.keys("one\r")
	p.until("one\r\none\r\n")
	p.keys("\x1a")
	p.until("Stopped")
	p.until("guest> ")
	p.keys("sleep 1000 &\r")
	p.until("guest> ")
	p.keys("fg %1\r")
	p.until("cat\r\n")
	p.keys("two\r")
	p.until("two\r\ntwo\r\n")
	p.keys("\x04")
	p.until("guest> ")
	p.keys("kill %2; exit 6\r")
	p.expectEnd(6)
}

// TestJobControlHere has wick be a job of a local shell: stopped by Ctrl-Z, started in the
// background, and brought to the foreground again.
func TestJobControlHere(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on this host")
	}
	socket, _ := agentSocket(t)
	p := typingTo(t, socket, 24, 80, func(*unix.Termios) {}, bash, "--norc", "--noprofile", "--noediting", "-i")
	p.keys("PS1='he''re> '\r")
	p.until("here> ")
	// Without a terminal of the guest, Ctrl-Z is for wick.
	p.keys("wick exec -i -c 'echo rea\"\"dy; exec cat'\r")
	p.until("ready\r\n")
	p.keys("one\r")
	p.until("one\r\none\r\n")
	p.keys("\x1a")
	p.until("Stopped")
	p.until("here> ")
	p.keys("stty -a\r")
	p.until(" ixon ") // wick's mode of the terminal is not left behind
	p.until("here> ")
	p.keys("fg\r")
	p.until("cat'\r\n")
	p.keys("two\r")
	p.until("two\r\ntwo\r\n")
	p.keys("\x04")
	p.until("here> ")
	// In the background it runs on, unless it wants the terminal.
	p.keys("wick exec -c 'echo from the back\"\"ground' & wait\r")
	p.until("from the background\r\n")
	p.until("here> ")
	p.keys("wick exec -it --env 'PS1=guest> ' -- sh -i &\r")
	p.until("here> ")
	p.keys("until jobs | grep -q Stop; do :; done; echo is\"\"stopped\r")
	p.until("isstopped\r\n")
	p.until("here> ")
	p.keys("fg\r")
	p.until("guest> ")
	p.keys("exit 4\r")
	p.until("here> ")
	p.keys("echo code $?; exit\r")
	p.until("code 4\r\n")
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Error("the local shell does not end")
	}
}
