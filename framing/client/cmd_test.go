package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/framing"
)

func TestCmd(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	out, err := c.Command("printf", "%s|", "a b", "", "$HOME", "*").Output(ctx)
	if err != nil || string(out) != "a b||$HOME|*|" {
		t.Errorf("got %q, %v", out, err)
	}
	dir := t.TempDir()
	cmd := c.ShellCommand(`pwd; echo "$A"; cat; echo err >&2; exit 3`)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, []string{"A=b=c"}, strings.NewReader("stdin")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	r, err := cmd.Run(ctx)
	exit, ok := errors.AsType[*ExitError](err)
	if !ok || exit.Receipt != r || r.Code != 3 || r.Reason != framing.ReasonExited || err.Error() != "exit status 3" {
		t.Fatalf("got %+v, %v", r, err)
	}
	if stdout.String() != dir+"\nb=c\nstdin" || stderr.String() != "err\n" {
		t.Errorf("got %q, %q", stdout.String(), stderr.String())
	}
	if r.Stdout != uint64(stdout.Len()) || r.Stderr != 4 || r.Elapsed <= 0 || r.Peak == 0 || cmd.PID() == 0 || cmd.ID() == 0 {
		t.Errorf("receipt %+v", r)
	}
	if out, err := c.ShellCommand("echo a; echo b >&2; echo c").CombinedOutput(ctx); err != nil || string(out) != "a\nb\nc\n" {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = c.ShellCommand("echo why >&2; kill -TERM $$").Output(ctx)
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Signal != syscall.SIGTERM || exit.Code != 143 || string(exit.Stderr) != "why\n" {
		t.Errorf("got %v", err)
	}
	cmd = c.Command("env")
	cmd.OnlyEnv, cmd.Env = true, []string{"PATH=/usr/bin:/bin", "X=1"}
	if out, err := cmd.Output(ctx); err != nil || string(out) != "PATH=/usr/bin:/bin\nX=1\n" {
		t.Errorf("got %q, %v", out, err)
	}
	cmd = c.ShellCommand("ulimit -n")
	cmd.Limits = []Limit{{Resource: syscall.RLIMIT_NOFILE, Soft: 77, Hard: 99}}
	if out, err := cmd.Output(ctx); err != nil || string(out) != "77\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if os.Getuid() == 0 {
		cmd = c.ShellCommand("id -u; id -g; echo $HOME")
		cmd.User = "nobody"
		if out, err := cmd.Output(ctx); err != nil || string(out) != "65534\n65534\n/nonexistent\n" {
			t.Errorf("got %q, %v", out, err)
		}
	}
}

func TestCmdThatCannotStart(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	for name, test := range map[string]struct {
		set   func(*Cmd)
		stage framing.StartStage
		errno syscall.Errno
	}{
		"program":   {func(c *Cmd) { c.Args[0] = "/missing" }, framing.StageExec, syscall.ENOENT},
		"path":      {func(c *Cmd) { c.Args[0] = "missing" }, framing.StageExec, syscall.ENOENT},
		"no file":   {func(c *Cmd) { c.Args[0] = "/" }, framing.StageExec, syscall.EACCES},
		"directory": {func(c *Cmd) { c.Dir = "/missing" }, framing.StageDirectory, syscall.ENOENT},
	} {
		cmd := c.Command("true")
		cmd.Stdin = strings.NewReader("unread")
		test.set(cmd)
		err := cmd.Start(testContext(t))
		if e, ok := errors.AsType[*StartError](err); !ok || e.Stage != test.stage || !errors.Is(err, test.errno) {
			t.Errorf("%s: got %+v", name, err)
		}
		missing := test.stage == framing.StageExec && test.errno == syscall.ENOENT
		if errors.Is(err, exec.ErrNotFound) != missing {
			t.Errorf("%s: %v is exec.ErrNotFound: %t, want %t", name, err, !missing, missing)
		}
		if r := cmd.Receipt(); r == nil || r.Reason != framing.ReasonNotStarted || r.Code < 126 {
			t.Errorf("%s: receipt %+v", name, r)
		}
	}
	for name, set := range map[string]func(*Cmd){
		"nothing": func(c *Cmd) { c.Args = nil },
		"timeout": func(c *Cmd) { c.Timeout = -1 },
		"keep":    func(c *Cmd) { c.Keep = 1 << 32 * time.Millisecond },
		"env":     func(c *Cmd) { c.Env = []string{"=x"} },
		"window":  func(c *Cmd) { c.Window = -1 },
		"length":  func(c *Cmd) { c.Args[0] = strings.Repeat("x", framing.MaxPayload) },
		"limits":  func(c *Cmd) { c.Limits = make([]Limit, 256) },
	} {
		cmd := c.Command("true")
		set(cmd)
		if err := cmd.Start(testContext(t)); !isType[*RequestError](err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCmdTimeoutAndSignals(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	cmd := c.Command("sleep", "60")
	cmd.Timeout = 50 * time.Millisecond
	if r, err := cmd.Run(ctx); r == nil || r.Reason != framing.ReasonTimedOut || r.Code != 124 || err.Error() != "timed out" {
		t.Errorf("got %+v, %v", r, err)
	}
	cmd = c.ShellCommand("trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.01; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.signal(ctx, syscall.SIGUSR1, framing.ScopeProcess); err != nil {
		t.Fatal(err)
	}
	if r, err := cmd.Wait(ctx); r == nil || r.Code != 5 {
		t.Errorf("got %+v, %v", r, err)
	}
	if rest, err := io.ReadAll(out); err != nil || string(rest) != "got\n" {
		t.Errorf("got %q, %v", rest, err)
	}
	if err := cmd.Signal(ctx, syscall.SIGUSR1); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal to what has ended: %v", err)
	}
	cmd = c.ShellCommand("setsid sleep 60 & sleep 60")
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := cmd.Wait(ctx); r == nil || r.Reason != framing.ReasonCancelled {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestCmdContext checks that a context ends a process as in os/exec, and that the error says so.
func TestCmdContext(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cmd := c.ShellCommand("echo x; sleep 60")
	out, in := io.Pipe()
	cmd.Stdout = in
	ended := background(func() (*Receipt, error) { return cmd.Run(ctx) })
	if _, err := io.ReadFull(out, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	cancel()
	r := <-ended
	if exit, ok := errors.AsType[*ExitError](r.err); !ok || r.v.Reason != framing.ReasonCancelled || !errors.Is(r.err, context.Canceled) || exit.Receipt != r.v {
		t.Errorf("got %+v, %v", r.v, r.err)
	}
	// The end of Wait's own context ends only the waiting.
	cmd = c.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	if _, err := cmd.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := c.Command("true").Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCmdCap(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	cmd := c.ShellCommand("head -c 100000 /dev/zero; head -c 10 /dev/zero >&2")
	cmd.Cap = 1000
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	r, err := cmd.Run(testContext(t))
	if err != nil || out.Len() != 1000 || r.Stdout != 100000 || r.StdoutDropped != 99000 || errs.Len() != 10 || r.StderrDropped != 0 {
		t.Errorf("got %d bytes, %+v, %v", out.Len(), r, err)
	}
}

func TestCmdTerminal(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	cmd := c.ShellCommand(`trap 'stty size' WINCH; stty size; tty; while read line; do echo "<$line>"; done; echo bye`)
	cmd.Terminal = &Size{33, 77}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	until := func(want string) {
		t.Helper()
		for b := make([]byte, 100); !strings.Contains(seen.String(), want); {
			n, err := out.Read(b)
			seen.Write(b[:n])
			if err != nil {
				t.Fatalf("%v after %q", err, seen.String())
			}
		}
	}
	until("33 77\r\n/dev/pts/")
	in.Write([]byte("hello\n"))
	until("hello\r\n<hello>\r\n")
	cmd.Resize(10, 20)
	in.Write([]byte("x\n")) // lets the shell run its trap
	until("10 20\r\n")
	in.Write([]byte{4}) // Ctrl-D
	until("bye\r\n")
	if r, err := cmd.Wait(ctx); err != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	// Ctrl-C goes to the foreground process group.
	cmd = c.Command("sleep", "60")
	cmd.Terminal = &Size{}
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	in.Write([]byte{3})
	if r, err := cmd.Wait(ctx); r == nil || r.Signal != syscall.SIGINT {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	cmd := c.Command("sleep", "60")
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	pid, err := c.Spawn(ctx, Exec{Command: "sleep 61"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Processes(ctx)
	if err != nil || len(list) != 2 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for _, p := range list {
		switch p.PID {
		case cmd.PID():
			if p.ID != cmd.ID() || p.Kind != framing.KindStart || !p.Attached || p.Exited || p.Command != "sleep 60" {
				t.Errorf("got %+v", p)
			}
		case pid:
			if p.ID != 0 || p.Kind != framing.KindSpawnWatch || !strings.Contains(p.Command, "sleep 61") {
				t.Errorf("got %+v", p)
			}
		default:
			t.Errorf("got %+v", p)
		}
	}
	if err := c.SignalPID(ctx, pid, syscall.SIGTERM, framing.ScopeTree); err != nil {
		t.Error(err)
	}
	if e, err := c.WaitExit(ctx, pid); err != nil || e.ExitCode != 143 {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := c.SignalID(ctx, cmd.ID(), syscall.SIGTERM, framing.ScopeGroup); err != nil {
		t.Error(err)
	}
	if r, _ := cmd.Wait(ctx); r == nil || r.Signal != syscall.SIGTERM {
		t.Errorf("got %+v", r)
	}
	if err := c.SignalID(ctx, 12345, syscall.SIGTERM, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("got %v", err)
	}
}

// TestCmdKilledWithItsConnection checks that a process is killed with its connection unless it is
// kept.
func TestCmdKilledWithItsConnection(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	c := a.dial()
	mark := filepath.Join(t.TempDir(), "mark")
	cmd := c.ShellCommand("trap 'touch " + mark + "' EXIT; echo ready; sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := cmd.Wait(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := out.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	c = a.dial()
	for {
		list, err := c.Processes(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was not killed, but ended")
	}
	if err := cmd.Reattach(testContext(t), c); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("got %v", err)
	}
}

// TestFailedStartsKeepNoPipe starts what cannot be started, and has the agent hold no more pipes
// than before.
func TestFailedStartsKeepNoPipe(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	// Those of the command that counts are among them, and may be open or closed.
	pipes := func() (n int) {
		out, err := c.ShellCommand("ls -l /proc/$PPID/fd | grep -c pipe:").Output(ctx)
		if err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(string(out)))
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pipes()
	for _, set := range []func(*Cmd){
		func(c *Cmd) { c.Args[0] = "/missing" },
		func(c *Cmd) { c.Dir = "/missing" },
		func(c *Cmd) { c.Dir, c.Keep = "/missing", time.Minute },
	} {
		for range 10 {
			cmd := c.Command("true")
			cmd.Stdin = strings.NewReader("unread")
			set(cmd)
			if err := cmd.Start(ctx); !isType[*StartError](err) {
				t.Fatalf("Start = %v, want a StartError", err)
			}
		}
	}
	if after := pipes(); after >= before+30 {
		t.Errorf("the agent has %d pipes after 30 failed starts, and had %d", after, before)
	}
}
