package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// RedialOptions is the policy of [Redial].
type RedialOptions struct {
	// Limit is how long a lost connection may take to come back, 60 s if 0. A machine that is
	// restored from a snapshot takes as long as its host.
	Limit time.Duration
	// Lost, if not nil, is called when a connection has ended, with its error.
	Lost func(err error)
	// Connected, if not nil, is called with each later connection before it is used, such as
	// to call [Client.Restore]. Its error ends that connection, and the next one is tried.
	Connected func(ctx context.Context, c *Client) error
	// Options are those of [Dial] or [Listen].
	Options []Option
}

// A Redialer keeps a connection to a guest. When the connection ends it makes the next one, in the
// background. It never repeats a request by itself, because one whose reply was lost may have run.
// Its methods may be called from any goroutine.
type Redialer struct {
	addr string
	o    RedialOptions
	ln   *Listener // of a listening form, or nil

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	current *Client       // the latest connection, which may have ended
	next    chan struct{} // closed when current or err is set the next time
	err     error         // why there is no next connection
}

// Redial connects to the guest at addr, as [Dial] does for the time of ctx, and keeps the
// connection until Close. The two functions of o are called from one goroutine, which makes no
// connection meanwhile.
//
// The error is as for [Dial].
func Redial(ctx context.Context, addr string, o RedialOptions) (*Redialer, error) {
	if o.Limit == 0 {
		o.Limit = time.Minute
	}
	r := &Redialer{addr: addr, o: o, next: make(chan struct{})}
	a, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	if a.listens() {
		if r.ln, err = Listen(addr, o.Options...); err != nil {
			return nil, err
		}
	}
	if r.current, err = r.dial(ctx); err != nil {
		r.closeListener()
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.work.Go(r.keep)
	return r, nil
}

func (r *Redialer) dial(ctx context.Context) (*Client, error) {
	if r.ln != nil {
		return r.ln.Accept(ctx)
	}
	return Dial(ctx, r.addr, r.o.Options...)
}

// keep makes the connections after the first one.
func (r *Redialer) keep() {
	for c := r.current; ; {
		select {
		case <-c.Done():
		case <-r.ctx.Done():
			return
		}
		if r.o.Lost != nil {
			r.o.Lost(c.Err())
		}
		next, err := r.reconnect()
		r.mu.Lock()
		if r.err == nil { // it is not closed
			r.err = err
			if err == nil {
				r.current = next
			}
			close(r.next)
			r.next = make(chan struct{})
		} else if err == nil {
			next.Close()
		}
		ended := r.err != nil
		r.mu.Unlock()
		if ended {
			return
		}
		c = next
	}
}

// reconnect makes a connection within the limit.
func (r *Redialer) reconnect() (*Client, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.o.Limit)
	defer cancel()
	var refused error // the last error of Connected
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		c, err := r.dial(ctx)
		if err != nil && refused != nil {
			return nil, refused
		}
		if err != nil || r.o.Connected == nil {
			return c, err
		}
		if err = r.o.Connected(ctx, c); err == nil {
			return c, nil
		}
		c.Close()
		refused = fmt.Errorf("connect again to %s: %w", r.addr, err)
		select {
		case <-ctx.Done():
			return nil, refused
		case <-time.After(pause):
		}
	}
}

// Client returns the connection. If it has ended Client waits for the next one, until ctx ends.
// The caller does not close it.
//
// The error is ctx's, [ErrClosed] after Close, or why the last attempt to connect failed. After
// such an error the Redialer makes no further attempt.
func (r *Redialer) Client(ctx context.Context) (*Client, error) {
	for {
		r.mu.Lock()
		c, next, err := r.current, r.next, r.err
		r.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-c.Done():
		default:
			return c, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a connection to %s: %w", r.addr, ctx.Err())
		}
	}
}

// Wait waits for a started process, as [Cmd.Wait] does. While the connection is lost it waits for
// the next one and re-attaches: streams continue without loss or repetition. The process needs a
// Keep that is longer than the connection takes to come back.
//
// The error is as for [Cmd.Wait] or [Redialer.Client]. It is an [*OpError] with ESRCH if the guest
// no longer knows the process, such as after a restart of the machine.
func (r *Redialer) Wait(ctx context.Context, cmd *Cmd) (*Receipt, error) {
	for {
		receipt, err := cmd.Wait(ctx)
		if !lostBy(err) || receipt != nil || cmd.Keep == 0 {
			return receipt, err
		}
		if err := r.reattach(ctx, cmd); err != nil {
			return nil, err
		}
	}
}

// reattach attaches the process on the first connection that stays for that long.
func (r *Redialer) reattach(ctx context.Context, cmd *Cmd) error {
	for {
		c, err := r.Client(ctx)
		if err != nil {
			return err
		}
		if err = cmd.Reattach(ctx, c); !lostBy(err) {
			return err
		}
	}
}

// lostBy reports whether an error is that of an ended connection.
func lostBy(err error) bool {
	_, lost := errors.AsType[*ConnError](err)
	return lost || errors.Is(err, ErrClosed)
}

// Close closes the connection, and makes no further one. Kept processes stay.
func (r *Redialer) Close() error {
	r.mu.Lock()
	if !errors.Is(r.err, ErrClosed) {
		r.err = ErrClosed
		close(r.next)
		r.next = make(chan struct{})
	}
	c := r.current
	r.mu.Unlock()
	r.cancel()
	err := c.Close()
	r.work.Wait()
	r.closeListener()
	return err
}

func (r *Redialer) closeListener() {
	if r.ln != nil {
		r.ln.Close()
	}
}
