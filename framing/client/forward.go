package client

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"wick/framing"
)

// networkOf returns the protocol's network, and the address for it. In a network of one family,
// localhost becomes the address of that family.
func networkOf(network, address string) (framing.Network, string, error) {
	if len(address) > framing.MaxText {
		return 0, "", &net.AddrError{Err: "address is too long", Addr: address[:80] + "..."}
	}
	loopback := func(ip string) string {
		if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || strings.EqualFold(host, "localhost")) {
			return net.JoinHostPort(ip, port)
		}
		return address
	}
	switch network {
	case "tcp":
		if host, _, _ := strings.Cut(address, ":"); host != "" && strings.EqualFold(host, "localhost") {
			address = "localhost" + address[len(host):]
		}
		return framing.NetworkTCP, address, nil
	case "tcp4":
		return framing.NetworkTCP, loopback("127.0.0.1"), nil
	case "tcp6":
		return framing.NetworkTCP, loopback("::1"), nil
	case "unix":
		return framing.NetworkUnix, address, nil
	}
	return 0, "", net.UnknownNetworkError(network)
}

// netOf returns the network of a [Conn]'s addresses.
func netOf(network string) string {
	if network == "unix" {
		return network
	}
	return "tcp"
}

// textAddr is an address as the caller gave it, for errors.
type textAddr struct{ network, text string }

func (a textAddr) Network() string { return a.network }
func (a textAddr) String() string  { return a.text }

// DialContext connects to an address in the guest's own network. The guest needs no network device
// for that. The connection is a [*Conn].
//
// network is tcp, tcp4, tcp6 or unix. address is as for [net.Dial], but a port is a number, and the
// guest resolves no name except localhost. A Unix address is a path, or @ and an abstract name.
//
// ctx limits the time to connect. It has no effect on the connection. The error is a
// [*net.OpError]. It wraps an [*OpError] with the guest's errno and the operation that failed, or
// [ErrClosed], the context's error, an [*UnsupportedError], a [*ConnError] or a [*RemoteError].
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	k, err := c.dialGuest(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddr{network, address}, Err: err}
	}
	return k, nil
}

func (c *Client) dialGuest(ctx context.Context, network, address string) (*Conn, error) {
	kind, address, err := networkOf(network, address)
	if err != nil {
		return nil, err
	}
	if err := c.need(ctx, framing.FeatureForward); err != nil {
		return nil, err
	}
	request := framing.Connect{Network: kind, Credit: connWindow, Address: []byte(address)}
	if at, ok := ctx.Deadline(); ok {
		request.TimeoutMS = uint32(min(max(time.Until(at).Milliseconds()+1, 1), math.MaxUint32))
	}
	return c.openConn(ctx, netOf(network), len(address), func(dst []byte, seq uint32) []byte {
		return framing.AppendConnect(dst, seq, &request)
	})
}

// openConn sends a request that opens a connection's channel, and waits for the answer.
func (c *Client) openConn(ctx context.Context, network string, size int, encode func([]byte, uint32) []byte) (*Conn, error) {
	k := newConn(network)
	if err := c.openChannel(ctx, k, framing.HeaderSize+32+size, func(r remote) { k.remote = r }, encode); err != nil {
		return nil, err
	}
	select {
	case err := <-k.opened:
		if err != nil {
			return nil, err
		}
		return k, nil
	case <-ctx.Done():
		k.Close() // the guest may have connected meanwhile
		return nil, ctx.Err()
	}
}

// A GuestListener listens in the guest's network. It is a [net.Listener].
type GuestListener struct {
	remote
	network string
	addr    net.Addr
	text    string

	mu      sync.Mutex // guards the fields below, but for the channels
	arrived []uint64   // ids of connections
	signal  chan struct{}
	opened  chan error
	isOpen  bool
	closed  bool
	err     error // that ended the channel, or nil
}

var _ net.Listener = (*GuestListener)(nil)

// maxArrived limits the connections that a guest announces before one is accepted. A guest stops
// much earlier.
const maxArrived = 1024

// Listen listens in the guest's own network. Connections that programs make there come to the
// listener, which is a [*GuestListener].
//
// network and address are as for [Client.DialContext]. With port 0 the guest chooses a port, which
// Addr returns. The file of a Unix socket belongs to the agent's user, has mode 0600, and is
// removed by Close. [Client.Chmod] and [Client.Chown] let other users connect.
//
// ctx limits the time to listen. It has no effect on the listener. Errors are as for DialContext.
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := c.listen(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: textAddr{network, address}, Err: err}
	}
	return l, nil
}

func (c *Client) listen(ctx context.Context, network, address string) (*GuestListener, error) {
	kind, text, err := networkOf(network, address)
	if err != nil {
		return nil, err
	}
	if err := c.need(ctx, framing.FeatureForward); err != nil {
		return nil, err
	}
	l := &GuestListener{network: netOf(network), text: text, signal: make(chan struct{}, 1), opened: make(chan error, 1)}
	request := framing.Listen{Network: kind, Address: []byte(text)}
	err = c.openChannel(ctx, l, framing.HeaderSize+8+len(text), func(r remote) { l.remote = r }, func(dst []byte, seq uint32) []byte {
		return framing.AppendListen(dst, seq, &request)
	})
	if err != nil {
		return nil, err
	}
	select {
	case err = <-l.opened:
	case <-ctx.Done():
		l.Close()
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// receive implements receiver.
func (l *GuestListener) receive(f *frame) (last bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f.Type {
	case framing.TypeListening:
		at, err := framing.ParseListening(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if l.isOpen {
			return false, protocolErrorf("a second listening")
		}
		l.addr, l.isOpen = addrOf(l.network, string(at)), true
		l.opened <- nil
		return false, nil
	case framing.TypeIncoming:
		id, _, err := framing.ParseIncoming(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if len(l.arrived) == maxArrived {
			return false, protocolErrorf("more than %d connections before one was accepted", maxArrived)
		}
		l.arrived = append(l.arrived, id)
		l.wake()
		return false, nil
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		err = forwardError(&d)
		if err == nil {
			err = net.ErrClosed
		}
		l.finish(err)
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		l.finish(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a listener", f.Type)
}

// wake makes Accept look again. l.mu is held.
func (l *GuestListener) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// finish ends the channel. l.mu is held.
func (l *GuestListener) finish(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	if !l.isOpen {
		l.opened <- err
	}
	l.wake()
}

// lost implements receiver.
func (l *GuestListener) lost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(err)
}

// next waits for a connection.
func (l *GuestListener) next() (id uint64, err error) {
	for {
		l.mu.Lock()
		switch {
		case l.closed:
			err = net.ErrClosed
		case len(l.arrived) > 0:
			id, l.arrived = l.arrived[0], l.arrived[1:]
		case l.err != nil:
			err = l.err
		default:
			l.mu.Unlock()
			<-l.signal
			continue
		}
		if err != nil || len(l.arrived) > 0 {
			l.wake() // other calls may wait too
		}
		l.mu.Unlock()
		return id, err
	}
}

// Accept implements net.Listener. The connection is a [*Conn]. If the guest has reached its limit
// of connections, the error wraps an [*OpError] with EMFILE, and a later Accept may succeed.
func (l *GuestListener) Accept() (net.Conn, error) {
	for {
		id, err := l.next()
		var k *Conn
		if err == nil {
			k, err = l.c.openConn(context.Background(), l.network, 0, func(dst []byte, seq uint32) []byte {
				return framing.AppendAccept(dst, seq, id, connWindow)
			})
		}
		if err == nil {
			return k, nil
		}
		if refused, ok := errors.AsType[*OpError](err); ok && refused.Errno == syscall.ENOENT {
			continue // the guest has dropped it
		}
		return nil, &net.OpError{Op: "accept", Net: l.network, Addr: l.Addr(), Err: err}
	}
}

// Close stops listening. Connections that were accepted live on, and others are reset.
func (l *GuestListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: l.network, Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	if l.err == nil {
		l.remote.close(framing.StreamInput)
	}
	l.wake()
	return nil
}

// Addr returns the address in the guest.
func (l *GuestListener) Addr() net.Addr {
	if l.addr == nil {
		return textAddr{l.network, l.text}
	}
	return l.addr
}
