package client

import (
	"context"
	"syscall"

	"wick/framing"
)

// SignalScope is the target of a signal: a process group, one process, or a process with its
// descendants.
type SignalScope = framing.SignalScope

// Signal sends a signal to the process's group; on a terminal to the foreground group. The error is
// an [*OpError] with ESRCH if the process has ended, or as for [Cmd.Start].
func (cmd *Cmd) Signal(ctx context.Context, sig syscall.Signal) error {
	return cmd.signal(ctx, sig, framing.ScopeGroup)
}

// SignalTree sends a signal to the process and its descendants.
func (cmd *Cmd) SignalTree(ctx context.Context, sig syscall.Signal) error {
	return cmd.signal(ctx, sig, framing.ScopeTree)
}

// Cancel kills the process and its descendants, and returns when that is done. The receipt says so.
func (cmd *Cmd) Cancel(ctx context.Context) error {
	return cmd.signal(ctx, syscall.SIGKILL, framing.ScopeTree)
}

func (cmd *Cmd) signal(ctx context.Context, sig syscall.Signal, scope SignalScope) error {
	p := cmd.p
	if p == nil {
		return &RequestError{Op: "signal", Reason: "not started"}
	}
	return p.current().c.SignalID(ctx, p.id, sig, scope)
}

// current returns the link of the process, or its last one.
func (p *process) current() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// Resize sets the size of the process's terminal, which sends it SIGWINCH. It does not wait, and
// does nothing without a terminal.
func (cmd *Cmd) Resize(rows, cols uint16) {
	if cmd.p == nil {
		return
	}
	l := cmd.p.current()
	l.c.postNow(func(dst []byte) []byte { return framing.AppendResize(dst, l.seq, rows, cols) })
}

// SignalID sends a signal to the process with that id, started on this connection or another.
//
// The error is an [*OpError] with ESRCH if the process is not known or has ended, or an
// [*UnsupportedError]. Otherwise it wraps the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) SignalID(ctx context.Context, id uint64, sig syscall.Signal, scope SignalScope) error {
	return c.signal(ctx, framing.Signal{ID: id, Signal: uint8(sig), Scope: scope})
}

// SignalPID is SignalID for a process that [Client.Exec] or [Client.Spawn] started.
func (c *Client) SignalPID(ctx context.Context, pid uint32, sig syscall.Signal, scope SignalScope) error {
	return c.signal(ctx, framing.Signal{PID: pid, Signal: uint8(sig), Scope: scope})
}

func (c *Client) signal(ctx context.Context, s framing.Signal) error {
	_, err := c.operate(ctx, framing.FeatureProcesses, "signal", 64, func(dst []byte, seq uint32) []byte {
		return framing.AppendSignal(dst, seq, s)
	})
	return err
}
