package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wick/framing"
)

// A cutter stands between a client and the agent, and cuts the connection after so many bytes in
// either direction, anywhere in a frame.
type cutter struct {
	t     testing.TB
	agent string
	ln    net.Listener
	work  sync.WaitGroup
	limit func() (toAgent, toClient int64)
}

// cut returns a cutter before an agent, and its address.
func cut(t testing.TB, a *agentProcess, limit func() (int64, int64)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cut")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t: t, agent: strings.TrimPrefix(a.addr, "unix:"), ln: ln, limit: limit}
	c.work.Go(c.serve)
	t.Cleanup(func() {
		ln.Close()
		c.work.Wait()
	})
	return "unix:" + path
}

func (c *cutter) serve() {
	for {
		client, err := c.ln.Accept()
		if err != nil {
			return
		}
		agent, err := net.Dial("unix", c.agent)
		if err != nil {
			c.t.Error(err)
			client.Close()
			continue
		}
		toAgent, toClient := c.limit()
		for _, way := range []struct {
			to, from net.Conn
			limit    int64
		}{{agent, client, toAgent}, {client, agent, toClient}} {
			c.work.Go(func() {
				io.CopyN(way.to, way.from, way.limit)
				way.to.Close()
				way.from.Close()
			})
		}
	}
}

// reattached runs cmd to its end over connections to addr that are cut again and again. It returns
// the receipt and how often they were cut.
func reattached(t testing.TB, cmd *Cmd, addr string) (r *Receipt, cuts int, err error) {
	t.Helper()
	ctx := testContext(t)
	for {
		r, err = cmd.Wait(ctx)
		if !isType[*ConnError](err) && !errors.Is(err, ErrClosed) {
			return r, cuts, err
		}
		for {
			c := (<-dialing(t, addr)).must(t)
			cuts++
			if err = cmd.Reattach(ctx, c); err == nil {
				break
			}
			if !isType[*ConnError](err) {
				return nil, cuts, err
			}
		}
	}
}

// TestReattach checks that nothing is lost or repeated, wherever the connection is cut, in either
// direction.
func TestReattach(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 5))
			var mu sync.Mutex
			addr := cut(t, a, func() (int64, int64) {
				mu.Lock()
				defer mu.Unlock()
				return 2000 + r.Int64N(600<<10), 2000 + r.Int64N(600<<10)
			})
			const size = 3 << 20
			want := sha256.New()
			io.Copy(want, io.LimitReader(&pattern{}, size))
			got := sha256.New()
			// The first connection lasts until the process has started.
			cmd := a.dial().ShellCommand("tee /dev/stderr")
			cmd.Keep = time.Minute
			cmd.Stdin, cmd.Stdout = io.LimitReader(&pattern{}, size), got
			errs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(testContext(t)); err != nil {
				t.Fatal(err)
			}
			cmd.c.Close()
			other := sha256.New()
			copied := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(copied)
				for {
					_, err := io.Copy(other, errs)
					if err == nil {
						return
					}
					select {
					case <-time.After(time.Millisecond):
					case <-done:
						return
					}
				}
			}()
			receipt, cuts, err := reattached(t, cmd, addr)
			if err != nil {
				close(done)
			}
			if err != nil || receipt.Stdout != size || receipt.Stderr != size {
				t.Fatalf("got %+v, %v", receipt, err)
			}
			<-copied
			if !bytes.Equal(got.Sum(nil), want.Sum(nil)) || !bytes.Equal(other.Sum(nil), want.Sum(nil)) {
				t.Error("the streams differ")
			}
			if cuts < 3 {
				t.Errorf("%d cuts", cuts)
			}
		})
	}
}

// TestAttach attaches from another program that knows only the id.
func TestAttach(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	ctx := testContext(t)
	first := a.dial()
	cmd := first.ShellCommand("head -c 300000 /dev/zero; echo mark; echo err >&2; read x; echo got $x; exit 4")
	cmd.Keep = KeepForEver
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
	if _, err := io.CopyN(io.Discard, out, 299000); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	second, err := a.dial().Attach(ctx, cmd.ID(), AttachOptions{Prepare: func(cmd *Cmd) {
		cmd.Stdout, cmd.Stderr, cmd.Stdin = &stdout, &stderr, strings.NewReader("answer\n")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Wait(ctx); err == nil || !strings.Contains(err.Error(), "attached by another connection") {
		t.Errorf("the first: %v", err)
	}
	if _, err := in.Write([]byte("x")); err == nil {
		t.Error("the first still writes")
	}
	r, err := second.Wait(ctx)
	if r == nil || r.Code != 4 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if !strings.HasSuffix(stdout.String(), "\x00mark\ngot answer\n") || stderr.String() != "err\n" || second.PID() != cmd.PID() {
		t.Errorf("got %q, %q", stdout.String()[max(0, stdout.Len()-40):], stderr.String())
	}
	// Its receipt was taken, so it is forgotten.
	if _, err := a.dial().Attach(ctx, cmd.ID(), AttachOptions{}); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("got %v", err)
	}
	if list, err := first.Processes(ctx); err != nil || len(list) != 0 {
		t.Errorf("left %+v, %v", list, err)
	}
}

// TestReattachAfterTheEnd gets the output and the receipt.
func TestReattachAfterTheEnd(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	ctx := testContext(t)
	cmd := a.dial().ShellCommand("echo one; read x; echo two; exit 3")
	cmd.Keep = time.Minute
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	in.Close()
	watch := a.dial()
	for !exited(t, watch, cmd.ID()) {
		time.Sleep(time.Millisecond)
	}
	cmd.c.Close()
	r, err := cmd.Wait(ctx)
	if err == nil || r == nil { // the receipt may have come before
		if err := cmd.Reattach(ctx, a.dial()); err != nil {
			t.Fatal(err)
		}
		r, err = cmd.Wait(ctx)
	}
	if r == nil || r.Code != 3 || stdout.String() != "one\ntwo\n" {
		t.Errorf("got %+v, %v, %q", r, err, stdout.String())
	}
}

func exited(t testing.TB, c *Client, id uint64) bool {
	t.Helper()
	list, err := c.Processes(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.ID == id {
			return p.Exited
		}
	}
	t.Fatalf("%x is not in %+v", id, list)
	return false
}

// TestCancelAcrossConnections cancels a process on the next connection.
func TestCancelAcrossConnections(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cmd := a.dial().Command("sleep", "60")
	cmd.Keep = KeepForEver
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cmd.c.Close()
	cancel()
	for cmd.p.cancelledNow() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Reattach(testContext(t), a.dial()); err != nil {
		t.Fatal(err)
	}
	r, err := cmd.Wait(testContext(t))
	if r == nil || r.Reason != framing.ReasonCancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func (p *process) cancelledNow() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cancelled
}
