package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalled is a run of wick that is sent signals.
type signalled struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Reader
}

// signalledRun runs wick on a real agent, and returns once its command has said that it is ready.
func signalledRun(t *testing.T, args ...string) *signalled {
	t.Helper()
	socket, _ := agentSocket(t)
	s := &signalled{t: t, cmd: exec.Command("wick", args...)}
	s.cmd.Env = append(os.Environ(), "WICK_TO=unix:"+socket)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	s.out = bufio.NewReader(out)
	for line := ""; !strings.HasSuffix(line, "ready\n"); {
		if line, err = s.out.ReadString('\n'); err != nil {
			t.Fatalf("wick %q: %v before it was ready", args, err)
		}
	}
	return s
}

// end waits for its end, and returns its exit code and what its command has said since it was
// ready.
func (s *signalled) end() (code int, said string) {
	s.t.Helper()
	var b strings.Builder
	if _, err := s.out.WriteTo(&b); err != nil {
		s.t.Fatal(err)
	}
	err := s.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return code, b.String()
}

// TestSignalIsPassedOn sends wick each signal that a command may have a use for. The command gets
// it, and how it ends is how wick does.
func TestSignalIsPassedOn(t *testing.T) {
	t.Parallel()
	const command = `stty -onlcr 2>/dev/null; for s in INT TERM HUP QUIT; do trap "echo got $s; exit 7" $s; done; echo ready; while :; do sleep 0.1; done`
	for _, args := range [][]string{{"exec", "-c", command}, {"exec", "--keep", "1m", "-c", command}, {"exec", "-t", "-c", command}} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
			s := signalledRun(t, args...)
			s.cmd.Process.Signal(sig)
			code, said := s.end()
			want := "got " + strings.TrimPrefix(unix.SignalName(sig), "SIG")
			if code != 7 || !strings.HasSuffix(said, want+"\n") {
				t.Errorf("%v to wick %q: exit code %d, stdout %q; want 7, %q", sig, args, code, said, want)
			}
		}
	}
}

// TestSignalThatIsIgnored has a command ignore what it is told: it is killed after the grace, or at
// once by a second signal.
func TestSignalThatIsIgnored(t *testing.T) {
	t.Parallel()
	const command = `trap "" TERM; trap "echo hup" HUP; echo $$; echo ready; while :; do sleep 0.1; done`
	t.Run("grace", func(t *testing.T) {
		t.Parallel()
		s := signalledRun(t, "exec", "-c", command)
		began := time.Now()
		s.cmd.Process.Signal(syscall.SIGTERM)
		if code, _ := s.end(); code != 128+15 || time.Since(began) < signalGrace {
			t.Errorf("exit code %d after %v, want 143 and not before %v", code, time.Since(began), signalGrace)
		}
	})
	t.Run("again", func(t *testing.T) {
		t.Parallel()
		s := signalledRun(t, "exec", "-c", command)
		s.cmd.Process.Signal(syscall.SIGHUP)
		if line, err := s.out.ReadString('\n'); line != "hup\n" {
			t.Fatalf("the command said %q, %v; want hup", line, err)
		}
		s.cmd.Process.Signal(syscall.SIGTERM)
		if code, _ := s.end(); code != 128+15 {
			t.Errorf("exit code %d, want 143", code)
		}
	})
}

// TestSignalWithoutCommand has SIGQUIT end a wick that runs nothing in the guest, with no word of
// the Go runtime's.
func TestSignalWithoutCommand(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("wick", "--to", "unix-listen:"+t.TempDir()+"/s", "--connect-timeout", "0", "exec", "true")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(cmd.Args[2], "unix-listen:")
	for {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGQUIT)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+3 || said.Len() > 0 {
		t.Errorf("exit code %d, stderr %q; want 131 and nothing", code, said.String())
	}
}

// TestSignalToSpawn has wick spawn --wait pass a signal on.
func TestSignalToSpawn(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	dir := t.TempDir()
	cmd := exec.Command("wick", "spawn", "--wait", "-c", "trap 'echo got TERM; exit 7' TERM; echo ready >"+dir+"/ready; while :; do sleep 0.1; done")
	cmd.Env = append(os.Environ(), "WICK_TO=unix:"+socket)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if _, err := said.ReadString('\n'); err != nil { // the pid: from here on signals are passed on
		t.Fatal(err)
	}
	for {
		if b, _ := os.ReadFile(dir + "/ready"); len(b) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(said)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 || !strings.HasSuffix(string(rest), "got TERM\n") {
		t.Errorf("exit code %d, stdout %q; want 7, got TERM", code, rest)
	}
}
