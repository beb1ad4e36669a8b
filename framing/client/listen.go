package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// readyLimit is how long an accepted connection may stay silent before the next one is served,
// which may be from a live guest.
const readyLimit = 5 * time.Second

// A Listener accepts the connections of a guest that connects by itself. Several goroutines may use
// it.
type Listener struct {
	addr *address
	opts options
	ln   *net.UnixListener
	file os.FileInfo // the socket that it made, so that Close removes no other

	turn chan struct{} // held by the one Accept that waits and sets the listener's deadline

	readyLimit time.Duration // readyLimit, unless a test changes it

	close  sync.Once
	open   context.Context // ends with Close
	closed context.CancelFunc
}

// Listen listens at a listening form of address. It replaces a stale socket. A socket that has a
// listener is an error; see [WithReplace].
//
// The error is an [*AddrError] or a [*DialError].
func Listen(addr string, opts ...Option) (*Listener, error) {
	a, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	if !a.listens() {
		return nil, a.errorf("nothing to listen at (want unix-listen: or firecracker-listen:)")
	}
	o := collect(opts)
	listen := listenUnix
	if o.replace {
		listen = replaceUnix
	}
	ln, err := listen(a.path)
	if op, ok := err.(*net.OpError); ok {
		err = op.Err // DialError says the rest of it
	}
	if err != nil {
		return nil, &DialError{Op: "listen", Addr: addr, Err: err}
	}
	l := &Listener{addr: a, opts: o, ln: ln, turn: make(chan struct{}, 1), readyLimit: readyLimit}
	l.open, l.closed = context.WithCancel(context.Background())
	l.file, err = os.Lstat(a.path)
	if err != nil {
		ln.Close()
		return nil, &DialError{Op: "listen", Addr: addr, Err: err}
	}
	return l, nil
}

// listenUnix listens at path, and removes a stale socket there.
func listenUnix(path string) (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it would remove whatever is at path by then
	return ln, nil
}

// replaceUnix listens at path instead of any socket that is there.
func replaceUnix(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, noSocket(path)
	}
	// It listens under another name before it takes the path, so that a listener is always there.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ln, err := listenIn(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(dir, "s"), path); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func noSocket(path string) error {
	return &os.PathError{Op: "bind", Path: path, Err: errors.New("not a socket")}
}

// removeStale removes the socket at path if it has no listener.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return noSocket(path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return &os.PathError{Op: "bind", Path: path,
			Err: errors.New("in use; if the guest listens there, connect to it with unix:" + path)}
	}
	return os.Remove(path)
}

// Path returns the path of the socket to which the guest connects, or Firecracker for it.
func (l *Listener) Path() string { return l.addr.path }

// Accept returns the next guest that connects and says ready. It passes over a connection that is
// cut before, or silent for 5 s. After an error Accept may be called again, unless the listener is
// closed.
//
// The error is a [*DialError] that wraps the cause: a [*BootError], a [*ProtocolError],
// [ErrClosed], or the context's.
func (l *Listener) Accept(ctx context.Context) (*Client, error) {
	var last error
	fail := func(err error) error {
		return &DialError{Op: "accept", Addr: l.addr.text, Err: err, Last: last}
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, fail(ctx.Err())
	case <-l.open.Done():
		return nil, fail(ErrClosed)
	}
	for {
		conn, err := l.accept(ctx)
		if err == nil {
			var c *Client
			if c, err = l.greet(ctx, conn); err == nil {
				return c, nil
			}
		}
		switch {
		case l.open.Err() != nil:
			return nil, fail(ErrClosed)
		case ctx.Err() != nil:
			return nil, fail(ctx.Err())
		case !worthRetrying(err):
			return nil, fail(err)
		}
		last = err
	}
}

// accept accepts the next connection.
func (l *Listener) accept(ctx context.Context) (net.Conn, error) {
	done := interruptible(ctx, l.ln.SetDeadline)
	defer done()
	return l.ln.Accept()
}

// greet waits for ready on an accepted connection.
func (l *Listener) greet(ctx context.Context, conn net.Conn) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, l.readyLimit)
	defer cancel()
	defer context.AfterFunc(l.open, cancel)()
	return greet(ctx, conn, l.opts)
}

// Close stops listening and removes the socket, if it is still the one that Listen made. Accepted
// clients are not affected. The error is that of the removal.
func (l *Listener) Close() (err error) {
	l.close.Do(func() {
		l.closed()
		// The socket is removed first: while it is there a guest may connect, and would be reset.
		if info, e := os.Lstat(l.addr.path); e == nil && os.SameFile(info, l.file) {
			err = os.Remove(l.addr.path)
		}
		l.ln.Close()
	})
	return err
}
