package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/terminal"
)

// TestDetachKeys are keys like any other, one without the other.
func TestDetachKeys(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--keep", "1m", "--", "cat")
	p.UntilRaw()
	p.Keys("a\x10\x10b\r")
	p.Until("a\x10\x10b\r\n")
	p.Keys("\x10\x11")
	p.Until("wick attach ")
	p.Until("\n")
	p.ExpectEnd(0)
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
		"given up, with more":      {strings.Repeat("x", 2*terminal.KeysKept) + "\x03\x03", "1h", 130},
		"given up while one types": {"rm -rf important\r", "2s", 125},
	} {
		t.Run(name, func(t *testing.T) {
			agent, _ := agentSocket(t)
			socket, cut := between(t, agent)
			p := typing(t, socket, 24, 80, "--connect-timeout", test.timeout, "exec", "-it", "--keep", "1m", "--", "cat")
			p.UntilRaw()
			p.Keys("a\r")
			p.Until("a\r\na\r\n")
			cut()
			p.Until("attaching again")
			go p.Master.WriteString(test.keys) // which waits for wick to read
			p.Until("wick attach ")
			p.Until("\n")
			p.ExpectEnd(test.code)
			if n, err := unix.IoctlGetInt(int(p.Slave.Fd()), unix.TIOCINQ); n != 0 || err != nil {
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
	p.UntilRaw()
	p.Keys("one\r")
	p.Until("got one\r\n")
	cut()
	p.Until("attaching again")
	p.Keys("two\rthree\r")
	for n := 1; n > 0; time.Sleep(time.Millisecond) { // until wick has read it
		var err error
		if n, err = unix.IoctlGetInt(int(p.Slave.Fd()), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(agent, socket); err != nil {
		t.Fatal(err)
	}
	p.Until("got two\r\ngot three\r\n")
	p.Keys("four\r\x04")
	p.Until("got four\r\n")
	p.ExpectEnd(0)
}

// TestDetach leaves a command running, and has it again.
func TestDetach(t *testing.T) {
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-it", "--keep", "forever", "--env", "PS1=guest> ", "--", "sh", "-i")
	p.Until("guest> ")
	p.Keys("x=kept; echo $x$x\r")
	p.Until("keptkept\r\n")
	p.Keys("echo <$x>\x10\x11")
	p.Until("wick attach ")
	p.Until("\n")
	p.ExpectEnd(0)
	out, err := exec.Command("wick", "--to", "unix:"+socket, "ps").Output()
	if err != nil || !strings.Contains(string(out), "alone t") {
		t.Fatalf("%s, %v", out, err)
	}
	id := strings.Fields(strings.Split(string(out), "\n")[1])[0]
	p = typing(t, socket, 24, 80, "attach", id[:6])
	p.UntilRaw()
	p.Keys("\x15echo \"[$x]\"; exit 3\r") // behind what was typed and not sent
	p.Until("[kept]\r\n")
	p.ExpectEnd(3)
}

// TestDetachWithoutTerminal has the detach keys leave a command that gets lines.
func TestDetachWithoutTerminal(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	p := typing(t, socket, 24, 80, "exec", "-i", "--keep", "forever", "-c", "echo ready; while read x; do echo got $x; done")
	p.Until("ready\r\n")
	p.Keys("one\r")
	p.Until("got one\r\n")
	p.Keys("\x10\x11")
	p.Until("wick attach ")
	p.Until("\n")
	p.ExpectEnd(0)
	out, err := exec.Command("wick", "--to", "unix:"+socket, "ps").Output()
	if err != nil || !strings.Contains(string(out), "alone ") {
		t.Fatalf("%s, %v", out, err)
	}
	id := strings.Fields(strings.Split(string(out), "\n")[1])[0]
	p = typing(t, socket, 24, 80, "attach", id)
	p.Keys("two\r")
	p.Until("got two\r\n")
	p.Keys("\x03") // Ctrl-C
	p.Until("left it running")
	p.ExpectEnd(130)
	p = typing(t, socket, 24, 80, "attach", id)
	p.Keys("\x04") // Ctrl-D
	p.ExpectEnd(0)
}
