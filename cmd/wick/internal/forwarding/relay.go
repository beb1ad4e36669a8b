package forwarding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// acceptPause is the time until a listener accepts again after this process had no descriptor left.
const acceptPause = 100 * time.Millisecond

// A dialer connects to an address, here or in the guest.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// A Forwarder serves forwards over one connection to a guest.
type Forwarder struct {
	verbose bool
	w       io.Writer // for lines about connections

	mu     sync.Mutex
	c      *client.Client
	number int // of the newest connection
	open   map[io.Closer]bool
	work   sync.WaitGroup
}

// NewForwarder returns a forwarder over c, which prints its lines to w. With verbose it prints one
// for each connection.
func NewForwarder(c *client.Client, verbose bool, w io.Writer) *Forwarder {
	return &Forwarder{c: c, verbose: verbose, w: w, open: map[io.Closer]bool{}}
}

// Client returns the connection to the guest.
func (f *Forwarder) Client() *client.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.c
}

// SetClient replaces the connection to the guest for those that come.
func (f *Forwarder) SetClient(c *client.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.c = c
}

// Say prints a line about a connection.
func (f *Forwarder) Say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.w, "wick: %s\n", output.PrintableLines(fmt.Sprintf(format, args...)))
}

// track makes close close c too, until forget is called. ok is false if the forwarder is closed
// already.
func (f *Forwarder) track(c io.Closer) (forget func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		c.Close()
		return nil, false
	}
	f.open[c] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, c)
	}, true
}

// Close closes listeners and connections, and waits until they have ended.
func (f *Forwarder) Close() {
	f.mu.Lock()
	open := f.open
	f.open = nil
	f.mu.Unlock()
	for c := range open {
		c.Close()
	}
	f.work.Wait()
}

// serve connects each connection of ln to the one that dial returns, until ln is closed. It does
// not block.
func (f *Forwarder) serve(ctx context.Context, ln net.Listener, name string,
	dial func(ctx context.Context, from net.Conn) (net.Conn, error)) {
	forget, ok := f.track(ln)
	if !ok {
		return
	}
	f.work.Go(func() {
		defer forget()
		defer ln.Close()
		for {
			from, err := ln.Accept()
			if refused, ok := errors.AsType[*client.OpError](err); ok && refused != nil {
				f.Say("%s: %v", name, err) // the guest has too many connections for now
				continue
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				f.Say("%s: %v", name, err)
				time.Sleep(acceptPause)
				continue
			}
			if err != nil {
				if !errors.Is(err, net.ErrClosed) && !errors.Is(err, client.ErrClosed) && ctx.Err() == nil {
					f.Say("%s: %v", name, err)
				}
				return
			}
			f.work.Go(func() { f.connect(ctx, from, name, dial) })
		}
	})
}

// connect serves one connection.
func (f *Forwarder) connect(ctx context.Context, from net.Conn, name string,
	dial func(context.Context, net.Conn) (net.Conn, error)) {
	defer from.Close()
	forget, ok := f.track(from)
	if !ok {
		return
	}
	defer forget()
	f.mu.Lock()
	f.number++
	number := f.number
	f.mu.Unlock()
	to, err := dial(ctx, from)
	if err != nil {
		if ctx.Err() == nil {
			f.Say("%s: connection %d from %s: %v", name, number, addressText(from.RemoteAddr()), err)
		}
		abort(from)
		return
	}
	defer to.Close()
	done, ok := f.track(to)
	if !ok {
		return
	}
	defer done()
	if f.verbose {
		f.Say("%s: connection %d from %s", name, number, addressText(from.RemoteAddr()))
	}
	sent, received, err := relay(from, to)
	if f.verbose && err == nil {
		f.Say("%s: connection %d closed, %d bytes out, %d back", name, number, sent, received)
	} else if f.verbose && ctx.Err() == nil {
		f.Say("%s: connection %d failed, %d bytes out, %d back: %v", name, number, sent, received, err)
	}
}

// addressText returns the text of an address. Most Unix sockets have none.
func addressText(a net.Addr) string {
	if a == nil || a.String() == "" || a.String() == "@" {
		return "a process"
	}
	return a.String()
}

// abort closes a connection. The peer of a TCP connection sees a reset.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// relay copies between two connections until both directions have ended. It passes on the end of
// one direction as a half-close. An error resets both connections.
func relay(a, b net.Conn) (sent, received int64, err error) {
	var back error
	var both sync.WaitGroup
	both.Go(func() { received, back = half(a, b) })
	sent, err = half(b, a)
	both.Wait()
	if err == nil || errors.Is(err, net.ErrClosed) && back != nil {
		err = back
	}
	return sent, received, err
}

// half copies one direction.
func half(to, from net.Conn) (int64, error) {
	n, err := io.Copy(to, from)
	if errors.Is(err, syscall.EPIPE) {
		// The far side takes no more, but may have an answer on its way. The near side learns of it
		// when it writes.
		if c, ok := from.(interface{ CloseRead() error }); ok {
			c.CloseRead()
		}
		return n, nil
	}
	if err != nil {
		abort(to)
		abort(from)
		return n, err
	}
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	return n, nil
}

// local is the dialer of this machine.
func local(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// ListenAll listens on the ends of this machine, on all or none.
func ListenAll(ctx context.Context, forwards []Forward) (list []net.Listener, err error) {
	for i := range forwards {
		ln, err := Listen(ctx, forwards[i].From)
		if err != nil {
			CloseAll(list)
			return nil, fmt.Errorf("forward %q: %w", forwards[i].Text, err)
		}
		list = append(list, ln)
	}
	return list, nil
}

// CloseAll closes listeners.
func CloseAll(list []net.Listener) {
	for _, ln := range list {
		ln.Close()
	}
}

// Listen listens on an end of this machine.
func Listen(ctx context.Context, e End) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, e.Network, e.Address)
}

// Start serves a forward that listens at ln, or in the guest. It returns a line that describes it.
func (f *Forwarder) Start(ctx context.Context, fw *Forward, ln net.Listener) (string, error) {
	dial, side := dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		return f.Client().DialContext(ctx, network, address)
	}), "guest"
	if fw.To.Network == "" {
		f.serve(ctx, ln, fw.Text, func(ctx context.Context, from net.Conn) (net.Conn, error) {
			return socks(ctx, from, dial)
		})
		return ln.Addr().String() + " to guest as SOCKS5 proxy", nil
	}
	if fw.Reverse {
		var err error
		if ln, err = f.Client().Listen(ctx, fw.From.Network, fw.From.Address); err != nil {
			return "", fmt.Errorf("forward %q: %w", fw.Text, err)
		}
		dial, side = local, "host"
	}
	at := End{fw.From.Network, ln.Addr().String()}
	f.serve(ctx, ln, fw.Text, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		return dial(ctx, fw.To.Network, fw.To.Address)
	})
	if fw.Reverse {
		return fmt.Sprintf("guest %v to %s %v", at, side, fw.To), nil
	}
	return fmt.Sprintf("%v to %s %v", at, side, fw.To), nil
}
