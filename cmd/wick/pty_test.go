package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/typist"
	"wick/framing/client/clienttest"
)

// typing starts wick on a new terminal of that size.
func typing(t *testing.T, socket string, rows, cols uint16, args ...string) *typist.Typist {
	t.Helper()
	return typingTo(t, socket, rows, cols, nil, append([]string{"wick"}, args...)...)
}

// typingWith starts wick on a new terminal with other modes.
func typingWith(t *testing.T, socket string, change func(*unix.Termios), args ...string) *typist.Typist {
	t.Helper()
	return typingTo(t, socket, 24, 80, change, append([]string{"wick"}, args...)...)
}

// typingTo starts a program on a new terminal, which may be a shell that starts wick.
func typingTo(
	t *testing.T, socket string, rows, cols uint16, change func(*unix.Termios), args ...string,
) *typist.Typist {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "WICK_TO=unix:"+socket, "TERM=vt100", "PS1=guest> ")
	return typist.Start(t, rows, cols, change, cmd)
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
