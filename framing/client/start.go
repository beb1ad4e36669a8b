package client

import (
	"context"
	"fmt"
	"io"
	"syscall"

	"wick/framing"
)

// Start starts the process and returns when it runs. If ctx ends while it runs, the process and its
// descendants are killed, as in os/exec. A process that must outlive the call needs a context that
// does. Streams and Wait then end with the context's error, within 5 s.
//
// A process that could not be started is a [*StartError]. Otherwise the error is a [*RequestError],
// an [*UnsupportedError], or wraps the context's, [ErrClosed], a [*ConnError] or a [*RemoteError].
// After a [*ConnError] a process with Keep may have been started: [Cmd.Reattach] finds out.
func (cmd *Cmd) Start(ctx context.Context) error {
	if cmd.p != nil {
		return &RequestError{Op: "start", Reason: "started already"}
	}
	id := newID()
	s, err := cmd.wire(id)
	if err != nil {
		return err
	}
	if err := cmd.c.need(ctx, cmd.features()); err != nil {
		return fmt.Errorf("start %s: %w", cmd.name(), err)
	}
	if cmd.c.said().Features&framing.FeatureManners != 0 {
		if err := cmd.more(s); err != nil {
			return err
		}
	}
	p := &process{id: id, name: cmd.name(), kept: cmd.Keep > 0, out: newInbox(framing.StreamOutput, cmd.window())}
	p.out.limit = cmd.Cap
	if !s.Merge && !s.Terminal {
		p.errs = newInbox(framing.StreamErrors, cmd.window())
		p.errs.limit = cmd.Cap
	}
	if s.Stdin {
		p.in = newOutbox()
	}
	cmd.p, cmd.ctx = p, ctx
	l := newLink(p, cmd.c)
	p.link = l
	err = cmd.c.openChannel(ctx, l, framing.HeaderSize+s.PayloadSize(), func(r remote) {
		l.remote = r
		s.OutputCredit, _ = p.out.resume(r)
		if p.errs != nil {
			s.ErrorsCredit, _ = p.errs.resume(r)
		}
	}, func(dst []byte, seq uint32) []byte { return framing.AppendStart(dst, seq, s) })
	if err != nil {
		p.giveUp(err)
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := cmd.awaitStart(ctx, l); err != nil {
		return err
	}
	cmd.attend()
	return nil
}

// name returns the program's name, for errors.
func (cmd *Cmd) name() string {
	if cmd.Shell {
		return "sh"
	}
	return cmd.Args[0]
}

// awaitStart waits for the answer to a start.
func (cmd *Cmd) awaitStart(ctx context.Context, l *link) error {
	p := cmd.p
	select {
	case <-l.began:
	case <-ctx.Done():
		p.abandon(ctx.Err())
		return fmt.Errorf("start %s: %w", p.name, ctx.Err())
	}
	p.mu.Lock()
	failed, err, ran := l.failed, l.err, l.ran
	p.mu.Unlock()
	switch {
	case ran: // Wait returns a later error
	case failed != nil:
		return failed
	case err != nil:
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

// giveUp ends a link that was never opened.
func (p *process) giveUp(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link.finish(err)
}

// attend starts copying the streams, and kills the process when ctx ends.
func (cmd *Cmd) attend() {
	p := cmd.p
	p.mu.Lock()
	if p.unwatch == nil {
		p.unwatch = context.AfterFunc(cmd.ctx, func() { p.cancel(cmd.ctx.Err()) })
	}
	p.mu.Unlock()
	if cmd.Stdout == nil && cmd.outPipe == nil {
		p.out.drain(false)
	}
	if p.errs != nil && cmd.Stderr == nil && cmd.errPipe == nil {
		p.errs.drain(false)
	}
	cmd.copyStreams()
}

// copyStreams starts copying the streams that have a reader or a writer. The copies end with the
// connection, and it is called again for the next.
func (cmd *Cmd) copyStreams() {
	p := cmd.p
	l := p.current()
	if cmd.Stdout != nil && cmd.outPipe == nil {
		l.copying.Go(func() { p.copyOut(p.out, cmd.Stdout) })
	}
	if p.errs != nil && cmd.Stderr != nil && cmd.errPipe == nil {
		l.copying.Go(func() { p.copyOut(p.errs, cmd.Stderr) })
	}
	if cmd.Stdin != nil && cmd.inPipe == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.reading {
			p.reading = true
			go p.copyIn(cmd.Stdin)
		}
	}
}

// copyOut copies an output to w.
func (p *process) copyOut(b *inbox, w io.Writer) {
	failing := &noting{w: w}
	b.WriteTo(failing)
	if failing.err != nil {
		p.copyFailed(failing.err)
		b.drain(true)
	}
}

// noting records the first error of a writer, to distinguish it from the reader's.
type noting struct {
	w   io.Writer
	err error
}

func (n *noting) Write(p []byte) (int, error) {
	k, err := n.w.Write(p)
	if err == nil && k < len(p) {
		err = io.ErrShortWrite
	}
	n.err = err
	return k, err
}

// copyFailed records the first error of a copy.
func (p *process) copyFailed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copied == nil {
		p.copied = err
	}
}

// copyIn copies r to the process until its end. If the connection ends it keeps what could not be
// sent for the next.
func (p *process) copyIn(r io.Reader) {
	buf := make([]byte, inputFrameMax)
	p.mu.Lock()
	data := p.rest
	p.rest = nil
	p.mu.Unlock()
	for {
		n, err := p.in.write(data)
		if err == syscall.EPIPE { // not a connection that was lost with EPIPE
			return // the process reads no more
		}
		if err != nil {
			data = data[n:]
			if p.putBack(data) {
				return
			}
			continue // there is a connection again
		}
		n, err = r.Read(buf)
		data = buf[:n]
		if n > 0 || err == nil {
			continue // a persistent error comes again
		}
		if err != io.EOF {
			p.copyFailed(err)
		}
		p.in.end()
		return
	}
}

// putBack keeps what was read of Stdin for the next connection, unless there is one already.
func (p *process) putBack(data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link.hasBegun && !p.link.isOver {
		return false
	}
	p.rest, p.reading = data, false
	return true
}
