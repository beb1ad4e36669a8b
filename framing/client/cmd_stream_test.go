package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"wick/framing"
)

// TestCmdLargeStreams sends large streams through a process in both directions at once.
func TestCmdLargeStreams(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	const size = 64 << 20
	sent, got := sha256.New(), sha256.New()
	cmd := c.Command("cat")
	cmd.Stdin = io.TeeReader(io.LimitReader(&pattern{}, size), sent)
	cmd.Stdout = got
	r, err := cmd.Run(testContext(t))
	if err != nil || r.Stdout != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestCmdSlowReader checks that a slow reader makes only the process wait.
func TestCmdSlowReader(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	cmd := c.ShellCommand("yes & yes >&2 & wait")
	cmd.Window = 10000
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr countingWriter
	cmd.Stderr = &stderr
	stderr.enough = make(chan struct{})
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	// stdout is not read, but stderr and the connection make progress.
	select {
	case <-stderr.enough:
	case <-ctx.Done():
		t.Fatal("stderr stands still")
	}
	if _, err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
	if n := len(cmd.p.out.ring.b); n > 16<<10 {
		t.Errorf("stdout takes %d bytes", n)
	}
	if n, err := io.CopyN(io.Discard, out, 1<<20); err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if err := cmd.Cancel(ctx); err != nil {
		t.Error(err)
	}
	out.Close()
	if r, err := cmd.Wait(ctx); r == nil || r.Reason != framing.ReasonCancelled {
		t.Errorf("got %+v, %v", r, err)
	}
}

// countingWriter reports when 1 MiB was written.
type countingWriter struct {
	n      int
	enough chan struct{}
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if c.n < 1<<20 && c.n+len(p) >= 1<<20 {
		close(c.enough)
	}
	c.n += len(p)
	return len(p), nil
}

// TestCmdClosedOutput checks that closing an output sends the process SIGPIPE.
func TestCmdClosedOutput(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	boom := errors.New("boom")
	cmd := c.Command("yes")
	cmd.Stdout = &failingWriter{1 << 20, boom}
	if r, err := cmd.Run(ctx); r == nil || r.Signal != syscall.SIGPIPE {
		t.Errorf("got %+v, %v", r, err)
	}
	cmd = c.ShellCommand("trap '' PIPE; yes; exit 0")
	cmd.Stdout = &failingWriter{1 << 20, boom}
	if r, err := cmd.Run(ctx); r == nil || !errors.Is(err, boom) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestCmdStdin has a stdin that ends early, fails, or is not wanted.
func TestCmdStdin(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	cmd := c.Command("true")
	cmd.Stdin = &pattern{} // without end
	if _, err := cmd.Run(ctx); err != nil {
		t.Error(err)
	}
	boom := errors.New("boom")
	cmd = c.Command("cat")
	cmd.Stdin = io.MultiReader(strings.NewReader("x"), iotest.ErrReader(boom))
	var out bytes.Buffer
	cmd.Stdout = &out
	if r, err := cmd.Run(ctx); r == nil || err == nil || !errors.Is(err, boom) || out.String() != "x" {
		t.Errorf("got %+v, %v, %q", r, err, out.String())
	}
	// Without Stdin it is /dev/null.
	if out, err := c.ShellCommand("cat; echo end").Output(ctx); err != nil || string(out) != "end\n" {
		t.Errorf("got %q, %v", out, err)
	}
	cmd = c.ShellCommand("exec 0<&-; echo closed; sleep 0.2; echo end")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until the guest has reported the closed end
		_, err = in.Write(make([]byte, 1000))
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	if _, err := cmd.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// TestLook shows what is held of a process beside the client that has it.
func TestLook(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	ctx := testContext(t)
	first := a.dial()
	cmd := first.ShellCommand("echo one; echo err >&2; read x; echo two; exit 3")
	cmd.Keep = KeepForEver
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := a.dial()
	r, w := io.Pipe()
	var stderr bytes.Buffer
	looked := make(chan error, 1)
	go func() {
		_, err := c.Look(ctx, cmd.ID(), LookOptions{Follow: true, Stdout: w, Stderr: &stderr})
		w.Close()
		looked <- err
	}()
	// The look shows this whether it comes before or after it.
	in.Write([]byte("x\n"))
	got, _ := io.ReadAll(r)
	if err := <-looked; err != nil || !strings.HasSuffix(string(got), "two\n") {
		t.Errorf("got %q, stderr %q, %v", got, stderr.String(), err)
	}
	var exit *ExitError
	if _, err := cmd.Wait(ctx); !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("the process ended with %v", err)
	}
	if _, err := first.Ping(ctx); err != nil { // the release before it has arrived
		t.Fatal(err)
	}
	if _, err := c.Look(ctx, cmd.ID(), LookOptions{}); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a look at a forgotten process: %v", err)
	}
}

// TestLoose has a process go on without a reader, and counts what was dropped.
func TestLoose(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	ctx := testContext(t)
	first := a.dial()
	cmd := first.ShellCommand("head -c 300000 /dev/zero; echo end")
	cmd.Keep, cmd.Loose = KeepForEver, true
	// Without a reader the window fills.
	if _, err := cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	first.Close()
	c := a.dial()
	for {
		list, err := c.Processes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && list[0].Exited {
			break
		}
	}
	var held bytes.Buffer
	missed, err := c.Look(ctx, cmd.ID(), LookOptions{Stdout: &held})
	if err != nil || missed+uint64(held.Len()) != 300004 || !strings.HasSuffix(held.String(), "end\n") {
		t.Errorf("held %d, missed %d, %v", held.Len(), missed, err)
	}
	var out bytes.Buffer
	again, err := c.Attach(ctx, cmd.ID(), AttachOptions{Prepare: func(cmd *Cmd) { cmd.Stdout = &out }})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := again.Wait(ctx)
	if err != nil || !bytes.Equal(out.Bytes(), held.Bytes()) || receipt.StdoutDropped == 0 {
		t.Errorf("got %d bytes, receipt %+v, %v", out.Len(), receipt, err)
	}
}
