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

	"wick/cmd/wick/internal/typist"
)

// TestTerminal types at a terminal like a user.
func TestTerminal(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 33, 77, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.Until("guest> ")
	if state := p.Termios(); state.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %+v", state)
	}
	p.Keys("stty size; echo $TERM\r")
	p.Until("\r\n33 77\r\nvt100\r\n")
	p.Resize(11, 99)
	p.Keys("until [ \"$(stty size)\" = '11 99' ]; do :; done; echo it\"\"is\r")
	p.Until("itis\r\n")
	p.Keys("cat\r")
	p.Keys("mirror\r")
	p.Until("mirror\r\n") // typed
	p.Until("mirror\r\n") // and said by cat
	p.Keys("\x03")
	p.Until("^C")
	p.Until("guest> ")
	p.Keys("exit 7\r")
	p.ExpectEnd(7)
}

// TestTerminalModes checks that the guest's terminal has the modes and keys of the local one.
func TestTerminalModes(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "-c", "stty -a; stty -echo; echo ready; exec head -n 1")
	p.Until("intr = ^C; quit = ^\\; erase = ^?;") // those of a new terminal
	p.Until("-iutf8")
	p.Until("ready")
	p.Keys("\x03")
	p.ExpectEnd(130)

	p = typingWith(t, socket, func(m *unix.Termios) {
		m.Iflag |= unix.IUTF8
		m.Oflag |= unix.OCRNL
		m.Lflag &^= unix.ECHOK
		m.Cc[unix.VERASE], m.Cc[unix.VINTR] = '\b', 'T'-'@'
	}, "exec", "-it", "-c", "stty -a; stty -echo; echo ready; exec head -n 1")
	p.Until("intr = ^T; quit = ^\\; erase = ^H;")
	p.Until(" iutf8")
	p.Until(" ocrnl")
	p.Until(" -echok ")
	p.Until("ready")
	p.Keys("aé\bb\r")
	p.Until("ab")
	p.ExpectEnd(0)
}

// TestTerminalWithoutSize, as a serial line, has the usual one in the guest.
func TestTerminalWithoutSize(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 0, 0, "exec", "-it", "--", "stty", "size")
	p.Until("24 80\r\n")
	p.ExpectEnd(0)
}

// TestTerminalWaysOut checks that every exit leaves the terminal as it was.
func TestTerminalWaysOut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out limits of seconds: run without -short")
	}
	for name, test := range map[string]struct {
		out  func(p *typist.Typist, stopAgent func())
		code int
	}{
		"TERM":            {func(p *typist.Typist, _ func()) { p.Cmd.Process.Signal(syscall.SIGTERM) }, 143},
		"HUP":             {func(p *typist.Typist, _ func()) { p.Cmd.Process.Signal(syscall.SIGHUP) }, 129},
		"INT from others": {func(p *typist.Typist, _ func()) { p.Cmd.Process.Signal(syscall.SIGINT) }, 130},
		// The shell takes no notice of it, and the keys go on.
		"QUIT":     {func(p *typist.Typist, _ func()) { p.Cmd.Process.Signal(syscall.SIGQUIT); p.Keys("exit 9\r") }, 9},
		"no agent": {func(_ *typist.Typist, stop func()) { stop() }, 125},
		"killed":   {func(p *typist.Typist, _ func()) { p.Keys("kill -KILL $$\r") }, 137},
	} {
		t.Run(name, func(t *testing.T) {
			socket, stop := agentSocket(t)
			p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
			p.Until("guest> ")
			go func() { // keeps the writer from blocking
				for buf := make([]byte, 4096); ; {
					if _, err := p.Master.Read(buf); err != nil {
						return
					}
				}
			}()
			test.out(p, stop)
			p.ExpectEnd(test.code)
		})
	}
}

// TestTerminalStopped by another process is a shell's matter, and goes on as it was.
func TestTerminalStopped(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.Until("guest> ")
	p.Cmd.Process.Signal(syscall.SIGTSTP)
	for !stopped(t, p.Cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	if state := p.Termios(); !reflect.DeepEqual(state, p.Before) {
		t.Errorf("while it is stopped the terminal is %+v", state)
	}
	p.Resize(9, 90)
	p.Cmd.Process.Signal(syscall.SIGCONT)
	p.Keys("until [ \"$(stty size)\" = '9 90' ]; do :; done; echo it\"\"is\r")
	p.Until("itis\r\n")
	p.Keys("exit\r")
	p.ExpectEnd(0)
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
	p.Until(" ") // its prompt, whatever that is
	p.Keys("echo \"<$MARK $PWD>\"\r")
	p.Until("<here " + me.HomeDir + ">")
	p.Keys("exit 5\r")
	p.ExpectEnd(5)
}

// TestJobControlInGuest stops a job of the guest's shell by Ctrl-Z, and has it go on.
func TestJobControlInGuest(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.Until("guest> ")
	p.Keys("cat\r")
	p.Until("cat\r\n")
	p.Keys("one\r")
	p.Until("one\r\none\r\n")
	p.Keys("\x1a")
	p.Until("Stopped")
	p.Until("guest> ")
	p.Keys("sleep 1000 &\r")
	p.Until("guest> ")
	p.Keys("fg %1\r")
	p.Until("cat\r\n")
	p.Keys("two\r")
	p.Until("two\r\ntwo\r\n")
	p.Keys("\x04")
	p.Until("guest> ")
	p.Keys("kill %2; exit 6\r")
	p.ExpectEnd(6)
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
	p.Keys("PS1='he''re> '\r")
	p.Until("here> ")
	// Without a terminal of the guest, Ctrl-Z is for wick.
	p.Keys("wick exec -i -c 'echo rea\"\"dy; exec cat'\r")
	p.Until("ready\r\n")
	p.Keys("one\r")
	p.Until("one\r\none\r\n")
	p.Keys("\x1a")
	p.Until("Stopped")
	p.Until("here> ")
	p.Keys("stty -a\r")
	p.Until(" ixon ") // wick's mode of the terminal is not left behind
	p.Until("here> ")
	p.Keys("fg\r")
	p.Until("cat'\r\n")
	p.Keys("two\r")
	p.Until("two\r\ntwo\r\n")
	p.Keys("\x04")
	p.Until("here> ")
	// In the background it runs on, unless it wants the terminal.
	p.Keys("wick exec -c 'echo from the back\"\"ground' & wait\r")
	p.Until("from the background\r\n")
	p.Until("here> ")
	p.Keys("wick exec -it --env 'PS1=guest> ' -- sh -i &\r")
	p.Until("here> ")
	p.Keys("until jobs | grep -q Stop; do :; done; echo is\"\"stopped\r")
	p.Until("isstopped\r\n")
	p.Until("here> ")
	p.Keys("fg\r")
	p.Until("guest> ")
	p.Keys("exit 4\r")
	p.Until("here> ")
	p.Keys("echo code $?; exit\r")
	p.Until("code 4\r\n")
	select {
	case <-p.Ended:
	case <-time.After(20 * time.Second):
		t.Error("the local shell does not end")
	}
}
