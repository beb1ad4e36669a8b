package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/vsock"
)

// The pauses between attempts: short at first, since a microVM boots within tens of milliseconds and somebody waits for it.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// attemptLimit bounds one connect with its handshake. One that was sent while the guest's driver was starting may never be
// answered, and the next would be at once.
const attemptLimit = 3 * time.Second

// Dial reaches the guest at addr (see the package's text) and returns once it has said ready.
//
// While nothing is there (no socket, nobody who listens, a handshake refused, a connection cut before ready), or the guest has too many
// connections, Dial tries again until ctx ends; see [WithoutRetry]. The listening forms are [Listen], [Listener.Accept] and [Listener.Close] in one.
//
// The error is an [*AddrError] if addr is malformed, else a [*DialError] that wraps the cause: a [*BootError], a
// [*HandshakeError], a [*ProtocolError], a [*RemoteError] of a guest that has too many connections, a system call's error, the context's.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	a, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	if a.listens() {
		l, err := Listen(addr, opts...)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		return l.Accept(ctx)
	}
	o := collect(opts)
	var last error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		c, err := a.attempt(ctx, o)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			// The attempt that ctx broke off says nothing; the one before it may.
			return nil, &DialError{Op: "dial", Addr: addr, Err: ctx.Err(), Last: last}
		}
		if o.once || !worthRetrying(err) {
			return nil, &DialError{Op: "dial", Addr: addr, Err: err}
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err // of two reasons, the one that says more than that time ran out
		}
		select {
		case <-ctx.Done():
			return nil, &DialError{Op: "dial", Addr: addr, Err: ctx.Err(), Last: last}
		case <-time.After(pause):
		}
	}
}

// attempt connects once and waits for ready.
func (a *address) attempt(ctx context.Context, o options) (*Client, error) {
	conn, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	return greet(ctx, conn, o)
}

// connect makes the connection over which frames then come.
func (a *address) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	if a.kind == kindVsock {
		conn, err := vsock.DialContext(ctx, a.cid, a.port, nil)
		if err != nil {
			return nil, err // not conn, which is a nil of its own type
		}
		return conn, nil
	}
	// A connect to a file that is no socket is refused like one to a socket nobody listens at, but no waiting helps it.
	if info, err := os.Stat(a.path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, &os.PathError{Op: "connect", Path: a.path, Err: syscall.ENOTSOCK}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", a.path)
	if op, ok := err.(*net.OpError); ok {
		return nil, op.Err // the rest of it is what DialError says
	}
	if err != nil {
		return nil, err
	}
	if a.kind == kindFirecracker {
		if err := handshake(ctx, conn, a.path, a.port); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// worthRetrying reports whether a failed attempt may do better when the guest has come further.
func worthRetrying(err error) bool {
	if refused, ok := errors.AsType[*HandshakeError](err); ok {
		return refused.Refused()
	}
	if remote, ok := errors.AsType[*RemoteError](err); ok {
		return remote.Seq == 0 // too many connections
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) {
		return true // cut before ready, or attemptLimit
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	switch errno {
	case syscall.ENOENT, syscall.ECONNREFUSED, syscall.EAGAIN: // no socket, nobody listens, a full backlog
		return true
	case syscall.ECONNRESET, syscall.EPIPE: // nobody listens (vsock), or cut before ready
		return true
	case syscall.ENODEV, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT: // no machine with this CID (vsock)
		return true
	}
	return false
}

// interruptible has ctx interrupt what conn waits for, by a deadline in the past. The caller calls done after the wait, which
// takes the deadline back.
func interruptible(ctx context.Context, setDeadline func(time.Time) error) (done func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
		}
		setDeadline(time.Time{})
	}
}
