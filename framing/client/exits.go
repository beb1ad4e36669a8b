package client

import (
	"context"
	"fmt"
	"slices"

	"wick/framing"
)

// These limits apply to exits that no WaitExit has returned yet. The guest keeps 256 of them for an
// absent host, so as many must fit.
const (
	maxExits     = 256
	maxExitBytes = 64 << 20 // of output; one exit has 16 MiB at most
)

// Exit is the end of a process that [Client.Spawn] started.
type Exit struct {
	PID uint32
	Result
}

// exits has the exits that WaitExit has not returned yet, oldest first, and the calls that wait.
type exits struct {
	kept    []*Exit
	bytes   int
	waiting map[uint32][]chan *Exit
}

// take removes and returns the oldest kept exit of pid, or nil.
func (x *exits) take(pid uint32) *Exit {
	i := slices.IndexFunc(x.kept, func(e *Exit) bool { return e.PID == pid })
	if i < 0 {
		return nil
	}
	e := x.kept[i]
	x.kept = slices.Delete(x.kept, i, i+1)
	x.bytes -= e.size()
	return e
}

// keep adds an exit, and drops the oldest while there are too many.
func (x *exits) keep(e *Exit) {
	x.kept = append(x.kept, e)
	x.bytes += e.size()
	for len(x.kept) > maxExits || x.bytes > maxExitBytes {
		x.take(x.kept[0].PID)
	}
}

func (e *Exit) size() int { return len(e.Stdout) + len(e.Stderr) }

// deliverExit hands an exit to all calls that wait for it, or keeps it.
func (c *Client) deliverExit(f *frame) error {
	if f.Seq != 0 {
		return protocolErrorf("process_exit with seq %d", f.Seq)
	}
	var r framing.ExecResult
	pid, err := framing.ParseProcessExit(f.own(), &r)
	if err != nil {
		return &ProtocolError{Err: err}
	}
	e := &Exit{PID: pid, Result: resultOf(&r)}
	taken := c.onExit != nil && c.onExit(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.exits.waiting[pid]
	delete(c.exits.waiting, pid)
	for _, w := range waiting {
		w <- e
	}
	if len(waiting) == 0 && !taken {
		c.exits.keep(e)
	}
	return nil
}

// deliverStdout passes a part of a process's stdout to the function of WithOnStdout.
func (c *Client) deliverStdout(f *frame) error {
	if f.Seq != 0 {
		return protocolErrorf("stdout_chunk with seq %d", f.Seq)
	}
	if c.onData == nil {
		return nil
	}
	pid, data, err := framing.ParseStdoutChunk(f.Payload)
	if err != nil {
		return &ProtocolError{Err: err}
	}
	c.onData(pid, data)
	return nil
}

// forgetExits drops the kept exits of a pid that a new process has got. They belong to earlier
// processes, and calls that wait for pid from now on mean the new one. Its own exit comes after the
// reply to its spawn_watch.
func (c *Client) forgetExits(pid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.exits.take(pid) != nil {
	}
}

// WaitExit waits for the process pid to exit, and returns at once if it has. All calls that wait
// get an exit when it comes. Otherwise it is kept for the first later call: up to 256 exits and 64
// MiB of output, the oldest dropped first. Processes of an earlier connection count too, because
// the guest reports them on the next one. A pid that does not exist is awaited until ctx ends.
//
// The error wraps the context's, [ErrClosed], or a [*ConnError]. An exit that came before the
// connection ended is still returned.
func (c *Client) WaitExit(ctx context.Context, pid uint32) (*Exit, error) {
	c.mu.Lock()
	if e := c.exits.take(pid); e != nil {
		c.mu.Unlock()
		return e, nil
	}
	w := make(chan *Exit, 1)
	if c.exits.waiting == nil {
		c.exits.waiting = map[uint32][]chan *Exit{}
	}
	c.exits.waiting[pid] = append(c.exits.waiting[pid], w)
	c.mu.Unlock()

	var err error
	select {
	case e := <-w:
		return e, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.done:
		err = c.Err()
	}
	c.stopWaiting(pid, w)
	select {
	case e := <-w: // it came meanwhile, and must not be lost
		return e, nil
	default:
		return nil, fmt.Errorf("wait for process %d: %w", pid, err)
	}
}

// stopWaiting removes a call that waits for pid.
func (c *Client) stopWaiting(pid uint32, w chan *Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.exits.waiting[pid], func(o chan *Exit) bool { return o == w })
	if len(left) > 0 {
		c.exits.waiting[pid] = left
	} else {
		delete(c.exits.waiting, pid)
	}
}
