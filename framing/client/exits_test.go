package client

import (
	"context"
	"errors"
	"testing"

	"wick/framing"
)

func (p *peer) exit(pid uint32, code int32, output int) {
	p.t.Helper()
	p.send(framing.AppendProcessExit(nil, pid, &framing.ExecResult{ExitCode: code, Stdout: make([]byte, output)}))
}

// sync returns when the client has handled all that was sent before.
func (p *peer) sync(c *Client) {
	p.t.Helper()
	ping := background(func() (int, error) { _, err := c.Ping(testContext(p.t)); return 0, err })
	seq, _ := p.expect(framing.TypePing)
	p.pong(seq)
	(<-ping).must(p.t)
}

func TestExitBeforeAndAfterWaitExit(t *testing.T) {
	c, p := pair(t)
	waiting := []<-chan outcome[*Exit]{}
	for range 2 {
		waiting = append(waiting, background(func() (*Exit, error) { return c.WaitExit(testContext(t), 5) }))
	}
	for c.countWaiting(5) < 2 {
		p.sync(c)
	}
	p.exit(5, 1, 0)
	for _, w := range waiting {
		if e := (<-w).must(t); e.ExitCode != 1 {
			t.Errorf("got %+v", e)
		}
	}
	p.exit(6, 2, 100<<10)
	p.sync(c)
	if e, err := c.WaitExit(testContext(t), 6); err != nil || e.ExitCode != 2 || len(e.Stdout) != 100<<10 {
		t.Errorf("got %+v, %v", e, err)
	}
	// An exit is returned once.
	ctx, cancel := context.WithCancel(context.Background())
	again := background(func() (*Exit, error) { return c.WaitExit(ctx, 6) })
	cancel()
	if err := (<-again).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(c.exits.waiting) != 0 || c.exits.bytes != 0 {
		t.Errorf("left: %+v", c.exits)
	}
}

func (c *Client) countWaiting(pid uint32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.exits.waiting[pid])
}

func TestExitOutlivesTheConnection(t *testing.T) {
	c, p := pair(t)
	p.exit(5, 1, 0)
	p.conn.Close()
	<-c.Done()
	if e, err := c.WaitExit(testContext(t), 5); err != nil || e.ExitCode != 1 {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := c.WaitExit(testContext(t), 5); !isType[*ConnError](err) {
		t.Errorf("got %v", err)
	}
}

func TestOldestExitsAreDropped(t *testing.T) {
	var x exits
	for pid := range uint32(maxExits + 1) {
		x.keep(&Exit{PID: pid})
	}
	if x.take(0) != nil || x.take(1) == nil || x.take(maxExits) == nil {
		t.Error("not the oldest was dropped, or more")
	}
	x = exits{}
	for pid := range uint32(5) {
		x.keep(&Exit{PID: pid, Result: Result{Stdout: make([]byte, maxExitBytes/4)}})
	}
	if x.take(0) != nil || len(x.kept) != 4 || x.bytes != maxExitBytes {
		t.Errorf("%d exits of %d bytes are kept", len(x.kept), x.bytes)
	}
}

// TestReusedPID reuses the pid of a process whose exit was not asked for.
func TestReusedPID(t *testing.T) {
	c, p := pair(t)
	p.exit(5, 1, 0)
	spawn := background(func() (uint32, error) { return c.Spawn(testContext(t), Exec{}) })
	seq, _ := p.expect(framing.TypeSpawnWatch)
	p.send(framing.AppendSpawnResult(nil, seq, 5))
	p.exit(5, 2, 0)
	pid := (<-spawn).must(t)
	if e, err := c.WaitExit(testContext(t), pid); err != nil || e.ExitCode != 2 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestOnExitTakes(t *testing.T) {
	var c *Client
	var p *peer
	c, p = pair(t, WithOnExit(func(e *Exit) bool { return e.PID == 1 }))
	p.exit(1, 0, 0)
	p.exit(2, 0, 0)
	p.sync(c)
	if len(c.exits.kept) != 1 || c.exits.kept[0].PID != 2 {
		t.Errorf("kept %+v", c.exits.kept)
	}
}

// endedBy is a context that has ended, and calls hook when its error is asked for.
type endedBy struct {
	context.Context
	hook func()
}

func (c *endedBy) Err() error {
	c.hook()
	return c.Context.Err()
}

// TestExitBehindTheContextsEnd checks that an exit is not lost which comes between the context's
// end and the end of WaitExit.
func TestExitBehindTheContextsEnd(t *testing.T) {
	c, _ := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	exit := framing.AppendProcessExit(nil, 5, &framing.ExecResult{ExitCode: 3})
	e, err := c.WaitExit(&endedBy{ctx, func() {
		if err := c.deliverExit(&frame{Header: framing.Header{Type: framing.TypeProcessExit}, Payload: exit[framing.HeaderSize:]}); err != nil {
			t.Error(err)
		}
	}}, 5)
	if err != nil || e.ExitCode != 3 {
		t.Errorf("got %+v, %v", e, err)
	}
}
