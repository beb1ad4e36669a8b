package client

import (
	"context"
	"fmt"
	"slices"

	"wick/framing"
)

// What is kept of exits that nobody has waited for yet. The guest keeps 256 for a host that is away, so as many must fit.
const (
	maxExits     = 256
	maxExitBytes = 64 << 20 // of output; one exit has 16 MiB at most
)

// Exit is a process that [Client.Spawn] started and that has ended.
type Exit struct {
	PID uint32
	Result
}

// exits are the exits that came before anybody waited for them, oldest first, and those who wait.
type exits struct {
	kept    []*Exit
	bytes   int
	waiting map[uint32][]chan *Exit
}

// take removes the oldest kept exit of pid. It is nil if there is none.
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

// deliverExit hands an exit to all who wait for it, and keeps it otherwise.
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

// deliverStdout hands a part of a process's stdout to who asked for it.
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

// forgetExits drops the kept exits of a pid that was given to a new process: they are of others that had it before, and whoever
// waits for pid from now on means the new one. The exit of the new one itself comes after the reply to its spawn_watch.
func (c *Client) forgetExits(pid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.exits.take(pid) != nil {
	}
}

// WaitExit waits for the process pid to exit, and returns at once if it has. An exit is handed to all who wait for it when it comes, or
// to the first who asks later: up to 256 exits and 64 MiB of output are kept for that, the oldest dropped. Processes of an earlier connection
// count too, for the guest reports them on the next one. A pid that is none is waited for as long as ctx lives.
//
// The error wraps the context's, [ErrClosed], or a [*ConnError]; an exit that came before the connection ended is still returned.
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
	case e := <-w: // it came in the meantime, and shall not be lost
		return e, nil
	default:
		return nil, fmt.Errorf("wait for process %d: %w", pid, err)
	}
}

// stopWaiting takes one who waits for pid away.
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
