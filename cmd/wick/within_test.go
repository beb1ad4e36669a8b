package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/framing"
	"wick/framing/client/clienttest"
)

// stoppable starts an agent that commands can stop, and returns its address. The agent is continued
// at the test's end.
func stoppable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wick") // a test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a, err := clienttest.StartAgent(filepath.Join(dir, "guest.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Signal(syscall.SIGCONT)
		a.Stop()
	})
	return "unix:" + filepath.Join(dir, "guest.sock")
}

// stopAgent is a command that stops the agent, which then keeps no timeout, and runs on.
const stopAgent = "kill -STOP $PPID; exec sleep 1000"

// TestTimeoutIsKeptHere stops the guest before a command starts or while it runs. wick must still
// end, with the exit code of a command that ran out of time.
func TestTimeoutIsKeptHere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"exec", []string{"exec", "--timeout", "300ms", "-c", stopAgent}},
		{"exec with stdin", []string{"exec", "-i", "--timeout", "300ms", "-c", stopAgent}},
		{"exec that is kept", []string{"exec", "--keep", "forever", "--timeout", "300ms", "-c", stopAgent}},
		{"spawn", []string{"spawn", "--wait", "--timeout", "300ms", "-c", stopAgent}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timesOut(t, append([]string{"--to", stoppable(t)}, tt.args...))
		})
	}
	for _, args := range [][]string{
		{"exec", "--timeout", "300ms", "true"}, {"exec", "-d", "--timeout", "300ms", "true"},
		{"spawn", "--timeout", "300ms", "true"}, {"spawn", "--wait", "--timeout", "300ms", "true"},
	} {
		t.Run("mute: "+strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			timesOut(t, append([]string{"--to", "unix:" + mute(t)}, args...))
		})
	}
}

// mute returns the socket of a guest that says it is ready, and nothing more.
func mute(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wick")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Write(framing.AppendFrame(nil, framing.TypeReady, 0, nil))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	return filepath.Join(dir, "s")
}

// timesOut runs wick, which must say that the command ran out of time.
func timesOut(t *testing.T, args []string) {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("wick", args...)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exit.TimedOut || !strings.Contains(errs.String(), "ran out of time (300ms)") {
		t.Errorf("wick %q exits with %d and says %q, want %d", args, code, errs.String(), exit.TimedOut)
	}
}

// TestSlowReaderIsNoTimeout reads a command's output long after its timeout. The command had ended
// in time, and its guest answers.
func TestSlowReaderIsNoTimeout(t *testing.T) {
	t.Parallel()
	const size = 200_000 // more than a pipe holds, and less than pipe and windows
	cmd := exec.Command("wick", "--to", stoppable(t), "exec", "--timeout", "3s", "-c", "head -c 200000 /dev/zero; exit 3")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// the reader's time, and no wait for something
	time.Sleep(3*time.Second + timeoutGrace + aliveLimit + time.Second)
	n, err := io.Copy(io.Discard, out)
	if err != nil || n != size {
		t.Errorf("read %d bytes, %v, want %d", n, err, size)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want the command's, 3", code)
	}
}
