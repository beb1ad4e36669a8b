package client

import (
	"context"
	"fmt"
	"io"
	"sync"

	"wick/framing"
)

// LookOptions are the options of [Client.Look].
type LookOptions struct {
	// Follow also shows the output that is still to come, until the process's outputs end.
	Follow bool
	// Stdout and Stderr get the outputs. Those of a nil one are dropped.
	Stdout, Stderr io.Writer
}

// Look writes the output of a kept process that the guest still holds. The process stays with the
// host that it is attached to, does not wait for the look, and still has the output for an attach.
//
// It returns how many bytes of its outputs were not held any more. The error is an [*OpError] with
// ESRCH if the guest does not know the process, or EINVAL if the process is not kept. ECANCELED
// means that it was forgotten meanwhile. Otherwise it is the writer's, or as for [Client.Stat].
func (c *Client) Look(ctx context.Context, id uint64, o LookOptions) (missed uint64, err error) {
	l := &look{
		out: newInbox(framing.StreamOutput, MaxKeptWindow), errs: newInbox(framing.StreamErrors, MaxKeptWindow),
		over: make(chan struct{}),
	}
	if err := c.need(ctx, framing.FeatureLook); err != nil {
		return 0, fmt.Errorf("look at process: %w", err)
	}
	q := framing.Look{Follow: o.Follow, ID: id}
	err = c.openChannel(ctx, l, 64, func(r remote) {
		l.remote = r
		q.OutputCredit, _ = l.out.resume(r)
		q.ErrorsCredit, _ = l.errs.resume(r)
		l.out.opened()
		l.errs.opened()
	}, func(dst []byte, seq uint32) []byte { return framing.AppendLook(dst, seq, &q) })
	if err != nil {
		return 0, fmt.Errorf("look at process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.end(ctx.Err()) })
	defer stop()
	var copying sync.WaitGroup
	for _, s := range []struct {
		b *inbox
		w io.Writer
	}{{l.out, o.Stdout}, {l.errs, o.Stderr}} {
		copying.Go(func() {
			to := &noting{w: s.w}
			if s.w == nil {
				to.w = io.Discard
			}
			if s.b.WriteTo(to); to.err != nil {
				l.end(to.err)
			}
		})
	}
	copying.Wait()
	<-l.over
	c.closeChannel(l.seq)
	if l.err != nil {
		l.remote.close(framing.StreamOutput)
		l.remote.close(framing.StreamErrors)
		return 0, fmt.Errorf("look at process: %w", l.err)
	}
	return l.missed, nil
}

// look is the channel of a look.
type look struct {
	remote
	out, errs *inbox
	ending    sync.Once
	over      chan struct{} // closed at the end
	// These are set before over is closed:
	err    error
	missed uint64
}

// end ends the look. Only the first call counts.
func (l *look) end(err error) {
	l.ending.Do(func() {
		l.err = err
		for _, b := range []*inbox{l.out, l.errs} {
			if err != nil {
				b.fail(err)
				b.drain(false)
			} else {
				b.end()
			}
		}
		close(l.over)
	})
}

// receive implements receiver.
func (l *look) receive(f *frame) (last bool, err error) {
	switch f.Type {
	case framing.TypeOutput:
		s, data, err := framing.ParseOutput(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if s == framing.StreamErrors {
			return false, l.errs.receive(data)
		}
		return false, l.out.receive(data)
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		l.missed = d.Value
		if d.Errno != 0 {
			l.end(opError("look at process", &d))
		} else {
			l.end(nil)
		}
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		l.end(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a look", f.Type)
}

// lost implements receiver.
func (l *look) lost(err error) { l.end(err) }
