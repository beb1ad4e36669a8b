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
