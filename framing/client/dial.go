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

// The pauses between attempts begin short, because a microVM boots within tens of milliseconds and
// its host waits for it.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// attemptLimit limits one attempt to connect. An attempt made while the guest's driver starts may
// never be answered, although the next one would be at once.
const attemptLimit = 3 * time.Second

// Dial connects to the guest at addr (see the package's text) and returns once the guest has said
// ready.
//
// Dial retries until ctx ends while the guest is not there: no socket, no listener, a refused
// handshake, or a connection that is cut before ready. It does so too while the guest has too many
// connections. [WithoutRetry] makes it try once. With a listening form it calls [Listen],
// [Listener.Accept] and [Listener.Close].
//
// The error is an [*AddrError] if addr is malformed, else a [*DialError]. Its cause is a
// [*BootError], a [*HandshakeError], a [*ProtocolError], a system call's error, or the context's. A
// guest with too many connections is a [*RemoteError].
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
			// The attempt that ctx interrupted says nothing; the one before it may.
			return nil, &DialError{Op: "dial", Addr: addr, Err: ctx.Err(), Last: last}
		}
		if o.once || !worthRetrying(err) {
			return nil, &DialError{Op: "dial", Addr: addr, Err: err}
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err // the error that says more than that time ran out
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

// connect returns a connection that carries frames.
func (a *address) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	if a.kind == kindVsock {
		conn, err := vsock.DialContext(ctx, a.cid, a.port, nil)
		if err != nil {
			return nil, err // not conn, which would be a nil of its own type
		}
		return conn, nil
	}
	network := "unix"
	if a.tcp() {
		network = "tcp"
	} else if info, err := os.Stat(a.path); err == nil && info.Mode().Type() != os.ModeSocket {
		// A connect to a file that is not a socket is refused like one to a socket without a
		// listener, but waiting does not help.
		return nil, &os.PathError{Op: "connect", Path: a.path, Err: syscall.ENOTSOCK}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, a.path)
	if op, ok := err.(*net.OpError); ok {
		return nil, op.Err // DialError says the rest of it
	}
	if err != nil {
		return nil, err
	}
	if a.handshakes() {
		if err := handshake(ctx, conn, a.path, a.port); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// worthRetrying reports whether a failed attempt may succeed later in the guest's boot.
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
	case syscall.ENOENT, syscall.ECONNREFUSED, syscall.EAGAIN: // no socket, no listener, a full backlog
		return true
	case syscall.ECONNRESET, syscall.EPIPE: // no listener (vsock), or cut before ready
		return true
	case syscall.ENODEV, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT: // no machine with this CID (vsock)
		return true
	}
	return worthRetryingHere(errno)
}

// interruptible makes the end of ctx interrupt what waits on conn, by a deadline in the past. The
// caller calls done after the wait, which clears the deadline.
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
