package client

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"wick/framing"
)

// attachError is a failed attach. held is the offset from which the guest holds an output: stdout
// with EINVAL, stderr with ERANGE.
type attachError struct {
	OpError
	held uint64
}

// Unwrap returns the OpError.
func (e *attachError) Unwrap() error { return &e.OpError }

// lostInputError is a guest that asks for stdin which is no longer held.
type lostInputError struct{ taken uint64 }

// Error says how much the guest has taken.
func (e *lostInputError) Error() string {
	return "the guest has taken " + strconv.FormatUint(e.taken, 10) + " bytes of stdin, which does not match what this side has sent"
}

// Reattach continues a process on another connection, after or instead of the one on which it was
// started. Streams continue in both directions without loss or repetition, and pipes stay valid.
// Then Wait can be called again.
//
// The error is an [*OpError] with ESRCH if the guest does not know the process: it was not started,
// or its Keep has passed. Otherwise it is as for Start. After an error Reattach may be called
// again.
func (cmd *Cmd) Reattach(ctx context.Context, c *Client) error {
	p := cmd.p
	if p == nil {
		return &RequestError{Op: "attach", Reason: "not started"}
	}
	if err := c.need(ctx, cmd.features()); err != nil {
		return fmt.Errorf("attach %s: %w", p.name, err)
	}
	l := newLink(p, c)
	old := p.current()
	old.lost(fmt.Errorf("continued on another connection"))
	old.c.closeChannel(old.seq)
	// The copies of the old connection finish what has arrived; those of the new one continue after
	// it.
	select {
	case <-old.idle():
	case <-ctx.Done():
		return fmt.Errorf("attach %s: %w", p.name, ctx.Err())
	}
	p.mu.Lock()
	if p.receipt != nil {
		p.mu.Unlock()
		return nil
	}
	p.link = l
	p.mu.Unlock()
	if err := p.attach(ctx, c, l); err != nil {
		return fmt.Errorf("attach %s: %w", p.name, err)
	}
	cmd.attend()
	p.mu.Lock()
	cancelled := p.cancelled
	p.mu.Unlock()
	if cancelled != nil {
		p.cancel(cancelled)
	}
	return nil
}

// attach opens the channel of l and waits for the answer.
func (p *process) attach(ctx context.Context, c *Client, l *link) error {
	a := framing.Attach{ID: p.id}
	err := c.openChannel(ctx, l, 128, func(r remote) {
		l.remote = r
		a.OutputCredit, a.Output = p.out.resume(r)
		if p.errs != nil {
			a.ErrorsCredit, a.Errors = p.errs.resume(r)
		}
	}, func(dst []byte, seq uint32) []byte { return framing.AppendAttach(dst, seq, &a) })
	if err != nil {
		p.giveUp(err)
		return err
	}
	select {
	case <-l.began:
	case <-ctx.Done():
		l.c.closeChannel(l.seq)
		p.giveUp(ctx.Err())
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.ran {
		return nil // Wait returns a later error
	}
	return l.err
}

// Detach tells the guest how much of the output was handed on, of a process with Keep. The next
// attach continues there. Call it before the connection is closed; until then the process is
// unaffected.
func (cmd *Cmd) Detach(ctx context.Context) {
	if cmd.p == nil {
		return
	}
	for _, b := range cmd.p.outputs() {
		b.confirm()
	}
	cmd.p.current().c.flush(ctx)
}

// AttachOptions are the options of [Client.Attach].
type AttachOptions struct {
	// Stdout and Stderr are how many bytes of each were received before. If the guest does not hold
	// the next byte any more, output continues with the first that it holds.
	Stdout, Stderr uint64
	// Prepare, if not nil, sets the streams of the Cmd before it is attached: Stdin, Stdout,
	// Stderr, or pipes. Without Stdin nothing is sent, and the process's stdin stays open.
	Prepare func(*Cmd)
	// Keep has the guest keep the process after its end, for an attach by another host.
	Keep bool
}

// Attach takes over a kept process that was started on another connection, perhaps by another
// program. The previous owner gets an error. The Cmd is as after Start: if ctx ends while the
// process runs it is cancelled.
//
// The error is as for [Cmd.Reattach].
func (c *Client) Attach(ctx context.Context, id uint64, o AttachOptions) (*Cmd, error) {
	cmd := &Cmd{c: c, Args: []string{"process " + strconv.FormatUint(id, 16)}, Keep: KeepForEver}
	if o.Prepare != nil {
		o.Prepare(cmd)
	}
	if err := c.need(ctx, framing.FeatureProcesses); err != nil {
		return nil, fmt.Errorf("attach %s: %w", cmd.name(), err)
	}
	p := &process{
		id: id, name: cmd.name(), kept: !o.Keep,
		out: newInbox(framing.StreamOutput, cmd.window()), errs: newInbox(framing.StreamErrors, cmd.window()),
	}
	p.out.received, p.errs.received = o.Stdout, o.Stderr
	if cmd.hasStdin() {
		p.in = newOutbox()
		p.in.anywhere = true
	}
	cmd.p, cmd.ctx = p, ctx
	for {
		l := newLink(p, c)
		p.link = l
		err := p.attach(ctx, c, l)
		if refused, ok := err.(*attachError); ok && p.skip(refused) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", cmd.name(), err)
		}
		cmd.attend()
		return cmd, nil
	}
}

// skip continues an output at the first byte that the guest holds, if the error says which. It
// reports whether to try again.
func (p *process) skip(refused *attachError) bool {
	b := p.out
	switch refused.Errno {
	case syscall.EINVAL:
	case syscall.ERANGE:
		b = p.errs
	default:
		return false
	}
	if refused.held <= b.received {
		return false
	}
	b.received = refused.held
	return true
}
