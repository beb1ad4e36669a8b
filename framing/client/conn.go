package client

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"wick/framing"
)

// connWindow limits the bytes of a connection that have come and were not read.
const connWindow = 256 << 10

// A Conn is a connection in the guest's network, made by [Client.DialContext] or accepted from
// [Client.Listen]. It is a [net.Conn]: all methods may be called concurrently, and deadlines and
// half-closes work as on a TCP connection. It ends with the client.
type Conn struct {
	remote
	network     string
	local, peer net.Addr
	reading     *deadline
	writing     *deadline
	turn        sync.Mutex // serialises writes

	mu sync.Mutex // guards the fields below
	// changed is closed at the next change. It is nil if nothing waits for one.
	changed chan struct{}
	in      ring
	credit  int   // bytes that the guest may still send
	owed    int   // bytes that were read and not granted again
	ended   bool  // the peer has shut down its writing side
	may     int   // bytes that may still be sent
	deaf    bool  // the peer takes no more
	shut    bool  // CloseWrite was called
	closed  bool  // Close was called
	over    bool  // the channel has ended
	err     error // that ended the channel, or nil
	opened  chan error
	isOpen  bool
}

var _ interface {
	net.Conn
	CloseWrite() error
} = (*Conn)(nil)

func newConn(network string) *Conn {
	return &Conn{network: network, reading: newDeadline(), writing: newDeadline(), credit: connWindow, opened: make(chan error, 1)}
}

// change wakes the calls that wait. k.mu is held.
func (k *Conn) change() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// wait waits for a change or the deadline. k.mu is held, but not while it waits.
func (k *Conn) wait(d *deadline) {
	if k.changed == nil {
		k.changed = make(chan struct{})
	}
	changed := k.changed
	k.mu.Unlock()
	select {
	case <-changed:
	case <-d.Done():
	}
	k.mu.Lock()
}

// receive implements receiver.
func (k *Conn) receive(f *frame) (last bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.change()
	switch f.Type {
	case framing.TypeConnected:
		w, err := framing.ParseConnected(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if k.isOpen {
			return false, protocolErrorf("a second connected")
		}
		k.local, k.peer = addrOf(k.network, string(w.Local)), addrOf(k.network, string(w.Remote))
		k.may, k.isOpen = int(w.Credit), true
		k.opened <- nil
		return false, nil
	case framing.TypeOutput:
		s, data, err := framing.ParseOutput(f.Payload)
		switch {
		case err != nil:
			return false, &ProtocolError{Err: err}
		case s != framing.StreamOutput || !k.isOpen || k.ended:
			return false, protocolErrorf("output of stream %d on a connection where none may come", s)
		case len(data) > k.credit:
			return false, protocolErrorf("output of %d bytes, credit is %d", len(data), k.credit)
		}
		k.credit -= len(data)
		if !k.closed {
			k.in.put(data)
		}
		return false, nil
	case framing.TypeCredit:
		s, n, err := framing.ParseCredit(f.Payload)
		if err != nil || s != framing.StreamInput {
			return false, protocolErrorf("credit of stream %d: %v", s, err)
		}
		k.may += int(n)
		return false, nil
	case framing.TypeClose:
		s, err := framing.ParseClose(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if s == framing.StreamInput {
			k.deaf = true
		} else {
			k.ended = true
		}
		return false, nil
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if d.Errno == 0 && !k.isOpen {
			return false, protocolErrorf("a done without an error in answer to a connect")
		}
		k.finish(forwardError(&d))
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		k.finish(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a connection", f.Type)
}

// finish ends the channel. k.mu is held.
func (k *Conn) finish(err error) {
	if k.over {
		return
	}
	k.over, k.deaf, k.err = true, true, err
	if !k.isOpen {
		k.opened <- err
	}
}

// lost implements receiver.
func (k *Conn) lost(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.finish(err)
	k.change()
}

// forwardError returns the error of a done about a connection or a listen, or nil.
func forwardError(d *framing.Done) error {
	op := "connection"
	if names := [...]string{"", "address", "socket", "bind", "listen", "connect"}; d.Value > 0 && d.Value < uint64(len(names)) {
		op = names[d.Value]
	}
	return opError(op, d)
}

// opErr wraps an error as package net does.
func (k *Conn) opErr(op string, err error) error {
	if e, ok := errors.AsType[*OpError](err); ok {
		err = e.Errno
	}
	return &net.OpError{Op: op, Net: k.network, Source: k.local, Addr: k.peer, Err: err}
}

// Read implements net.Conn. Any error but [io.EOF] is a [*net.OpError]. It wraps [net.ErrClosed],
// [os.ErrDeadlineExceeded] or an errno such as ECONNRESET. If the client has ended, it wraps
// [ErrClosed] or a [*ConnError].
func (k *Conn) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		switch {
		case k.closed:
			return 0, k.opErr("read", net.ErrClosed)
		case k.reading.Err() != nil:
			return 0, k.opErr("read", k.reading.Err())
		case len(p) == 0:
			return 0, nil
		case k.in.n > 0:
			n := copy(p, k.in.at(0))
			k.in.drop(n)
			k.taken(n)
			return n, nil
		case k.ended:
			return 0, io.EOF
		case k.over:
			return 0, k.opErr("read", k.why())
		}
		k.wait(k.reading)
	}
}

// why returns the error that ended the channel before its streams ended. k.mu is held.
func (k *Conn) why() error {
	if k.err == nil {
		return io.ErrUnexpectedEOF
	}
	return k.err
}

// taken counts bytes that were read, and grants them again once they are worth a frame. k.mu is
// held.
func (k *Conn) taken(n int) {
	k.owed += n
	if k.owed < connWindow/2 || k.ended || k.over {
		return
	}
	k.grant(framing.StreamOutput, uint32(k.owed))
	k.credit += k.owed
	k.owed = 0
}

// Write implements net.Conn. When it returns, the bytes are on their way to the guest. If the peer
// takes no more, the error wraps EPIPE. Other errors are as for Read.
func (k *Conn) Write(p []byte) (n int, err error) {
	k.turn.Lock()
	defer k.turn.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		switch {
		case k.closed:
			return n, k.opErr("write", net.ErrClosed)
		case k.writing.Err() != nil:
			return n, k.opErr("write", k.writing.Err())
		case k.over && k.err != nil:
			return n, k.opErr("write", k.err)
		case k.shut || k.deaf:
			return n, k.opErr("write", syscall.EPIPE)
		case n == len(p):
			return n, nil
		case k.may == 0:
			k.wait(k.writing)
			continue
		}
		piece := p[n:min(len(p), n+min(k.may, inputFrameMax))]
		k.may -= len(piece)
		k.mu.Unlock()
		err := k.c.enqueue(k.writing, framing.HeaderSize+len(piece), func(dst []byte) []byte {
			return framing.AppendFrame(dst, framing.TypeInput, k.seq, piece)
		})
		k.mu.Lock()
		if err != nil {
			k.may += len(piece)
			return n, k.opErr("write", err)
		}
		n += len(piece)
	}
}

// CloseWrite shuts down the writing side. The peer reads to the end of what was written, and may
// still write.
func (k *Conn) CloseWrite() error {
	k.turn.Lock() // after a write under way
	defer k.turn.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return k.opErr("close", net.ErrClosed)
	}
	if !k.shut && !k.over {
		k.remote.close(framing.StreamInput)
	}
	k.shut = true
	k.change()
	return nil
}

// CloseRead stops reading from the peer. Bytes of it that come later are dropped.
func (k *Conn) CloseRead() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return k.opErr("close", net.ErrClosed)
	}
	if !k.ended && !k.over {
		k.remote.close(framing.StreamOutput)
	}
	return nil
}

// Close implements net.Conn. The peer still gets what was written, if it reads within 5 s.
func (k *Conn) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return k.opErr("close", net.ErrClosed)
	}
	k.closed = true
	k.in = ring{}
	if !k.over {
		k.remote.close(framing.StreamOutput)
		if !k.shut {
			k.remote.close(framing.StreamInput)
		}
	}
	k.change()
	return nil
}

// LocalAddr returns the socket's address in the guest.
func (k *Conn) LocalAddr() net.Addr { return k.local }

// RemoteAddr returns the peer's address in the guest.
func (k *Conn) RemoteAddr() net.Addr { return k.peer }

// SetDeadline implements net.Conn.
func (k *Conn) SetDeadline(t time.Time) error {
	k.SetReadDeadline(t)
	return k.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (k *Conn) SetReadDeadline(t time.Time) error { return k.setDeadline(k.reading, t) }

// SetWriteDeadline implements net.Conn.
func (k *Conn) SetWriteDeadline(t time.Time) error { return k.setDeadline(k.writing, t) }

func (k *Conn) setDeadline(d *deadline, t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return k.opErr("set", net.ErrClosed)
	}
	d.set(t)
	k.change() // calls that wait look at the new deadline
	return nil
}

// addrOf returns the address that the guest's text stands for.
func addrOf(network, text string) net.Addr {
	if network == "unix" {
		return &net.UnixAddr{Name: text, Net: network}
	}
	at, _ := netip.ParseAddrPort(text)
	return net.TCPAddrFromAddrPort(at)
}
