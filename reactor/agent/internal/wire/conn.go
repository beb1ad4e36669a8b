package wire

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// state is where a connection stands.
type state uint8

const (
	// open: requests are read and answered.
	open state = iota
	// ended: the host shut down its writing side. Replies that are due are sent, then the
	// connection is closed.
	ended
	// refused: the host sent what cannot be read on from. The queue is sent, then the
	// writing side is shut down.
	refused
	// lingering: the writing side is shut down, and what still comes is dropped for a bounded time.
	// Closing a socket with unread bytes may cost the host the last words.
	lingering
	// closed: the descriptor is released.
	closed
)

const (
	// heavyBatch is the most requests of one connection that are heavy in a turn of the loop.
	heavyBatch = 4
	// lingerGrace is how long a connection that the agent ends waits for the host to read its
	// last words.
	lingerGrace = time.Second
	// greetGrace is how long after the ready a host that asks nothing is told what it did not ask
	// for. Hosts in the field drop what comes between the ready and their first pong.
	greetGrace = 100 * time.Millisecond
	// usefulAfter is how long a connection lasts that serves the host though it says nothing.
	usefulAfter = time.Second
)

// Conn is one connection to a host.
type Conn struct {
	// Request is the request whose payload is still coming, or nil. It is the handler's of that
	// type.
	Request Request
	// Accounts says that the host wants receipts with I/O. It is set by the handler of account.
	Accounts bool

	server  *Server
	link    Link
	id      uint32
	stream  reactor.Stream
	decoder framing.Decoder
	part    framing.Part // the one being handled
	state   state
	due     int           // replies to come that are not queued yet, or are queued as a source
	useful  bool          // a frame was read
	guest   bool          // the far end is an agent, not a host
	reset   bool          // it ended by a reset
	held    bool          // nothing more is decoded
	heavy   int           // heavy requests in this turn
	exact   int           // reads to come that end with a header or a frame, see [Taker]
	born    time.Duration // reactor.Now
	linger  reactor.Timer

	// A host is greeted once it has had a first reply, or has asked nothing for a while. It gets
	// nothing before that it did not ask for.
	answered bool
	greeted  bool
	greeting reactor.Timer

	extended bool // it has said hello
	channels []numbered
	line     []Producer // those that have something to send, in turn
}

// ID returns the number by which the log knows the connection.
func (c *Conn) ID() uint32 { return c.id }

// Vsock reports whether the connection leads to the machine's host.
func (c *Conn) Vsock() bool { return c.link.Vsock() }

// Open reports whether requests are read and answered.
func (c *Conn) Open() bool { return c.state == open }

// Closed reports whether the connection has ended.
func (c *Conn) Closed() bool { return c.state == closed }

// Busy reports whether the host has not yet taken all that it was sent.
func (c *Conn) Busy() bool { return !c.stream.Idle() }

// WasReset reports whether the connection was ended by a reset.
func (c *Conn) WasReset() bool { return c.reset }

// Greeted reports whether the host may be sent what it did not ask for.
func (c *Conn) Greeted() bool { return c.greeted }

// Extend has the extension's types served from now on.
func (c *Conn) Extend() { c.extended = true }

// Extended reports whether the extension's types are served.
func (c *Conn) Extended() bool { return c.extended }

// Heavy counts the request of this moment as heavy: it starts a command, or may have to ask a
// disk. After heavyBatch of them other connections have their turn.
func (c *Conn) Heavy() { c.heavy++ }

// Hold has nothing more decoded, and keeps the connection from ending, until Unhold.
func (c *Conn) Hold() {
	c.held = true
	c.due++
	c.stream.Pause()
}

// Unhold ends Hold, with the reply that was due.
func (c *Conn) Unhold(frame []byte) {
	c.held = false
	c.stream.Resume()
	c.ReplyLater(frame)
	c.Sent()
}

// ReadAtMost limits the next read to n bytes; 0 for no limit.
func (c *Conn) ReadAtMost(n int) { c.stream.ReadAtMost(n) }

// open begins with a ready, or with the last words.
func (c *Conn) open(fd int, peer string) {
	s := c.server
	c.born = reactor.Now()
	c.decoder.Window = reactor.BufferSize
	c.stream.Open(s.Loop, fd, peer, c)
	s.Log.Info("connected", "conn", sys.Num(c.id), "peer", peer, "uptime", sys.Uptime())
	if s.LastWords != "" {
		c.Error(0, s.LastWords)
		c.state = refused
		c.stream.Flush()
		return
	}
	c.stream.Commit(framing.AppendFrame(c.stream.Space(framing.HeaderSize), framing.TypeReady, 0, nil))
	s.Loop.Start(&c.greeting, greetGrace, c)
	c.stream.Flush()
}

// greet has the host sent what it did not ask for, and what was kept for it.
func (c *Conn) greet() {
	if c.state == open {
		c.answered, c.greeted = true, true
		c.server.redirect()
	}
}

// Input implements [reactor.StreamHandler].
func (c *Conn) Input(b []byte) (taken int) {
	if c.exact > 0 && c.begin(b) {
		taken = len(b)
	} else {
		taken = c.input(b)
	}
	if c.exact > 0 {
		c.limitRead(b[taken:])
	}
	return taken
}

// input handles the frames at the front of b.
func (c *Conn) input(b []byte) (taken int) {
	c.heavy = 0
	for c.state == open && !c.stream.Busy() && !c.held {
		if c.heavy == heavyBatch {
			// There may be a thousand more of these in the buffer, and other connections wait.
			c.stream.Yield()
			break
		}
		n, err := c.decoder.Next(b[taken:], &c.part)
		if err != nil {
			c.refuse(err)
			break
		}
		if n == 0 {
			return taken
		}
		taken += n
		if !c.useful {
			c.useful = true
			for _, f := range c.server.first {
				f()
			}
		}
		c.dispatch(&c.part)
	}
	if c.state == open {
		return taken
	}
	return len(b) // nothing more is looked at
}

// refuse ends a connection that cannot be read on from.
func (c *Conn) refuse(reason error) {
	c.server.Log.Warn("connection refused", "conn", sys.Num(c.id), "reason", reason.Error())
	c.detach()
	c.Error(0, reason.Error())
	c.dropRequest()
	c.Refuse()
}

// Refuse ends the connection. The frames in its queue are its last words.
func (c *Conn) Refuse() {
	c.state = refused
	c.detach()
	c.loseChannels()
	c.settle()
}

// End implements [reactor.StreamHandler].
func (c *Conn) End(err error) {
	if err == nil && c.state == open {
		c.state = ended
		c.dropRequest()
		c.loseChannels()
		c.settle()
		return
	}
	if err != nil {
		// ENOTCONN: to the kernel, a vsock connection that the device has reset is not connected.
		errno := sys.ErrnoOf(err)
		c.reset = errno == unix.ENOTCONN || errno == unix.ECONNRESET
		c.server.Log.Debug("connection lost", "conn", sys.Num(c.id), "error", err.Error())
	}
	c.Close()
}

// Drained implements [reactor.StreamHandler].
func (c *Conn) Drained() {
	c.serveLine()
	if len(c.channels) == 0 {
		c.stream.ReleasePipe()
	}
	c.settle()
	c.server.Changed()
}

// settle takes the next step of a connection that is coming to its end.
func (c *Conn) settle() {
	if !c.stream.Idle() {
		return
	}
	switch {
	case c.state == ended && c.due == 0:
		c.Close()
	case c.state == refused:
		c.state = lingering
		unix.Shutdown(c.stream.FD(), unix.SHUT_WR)
		c.server.Loop.Start(&c.linger, lingerGrace, c)
	}
}

// Expired implements [reactor.TimerHandler]: the host had time enough.
func (c *Conn) Expired(t *reactor.Timer) {
	if t == &c.greeting {
		c.greet()
	} else {
		c.Close()
	}
}

// Failed implements [reactor.Failer]: a panic costs no more than its connection.
func (c *Conn) Failed(value any, stack []byte) {
	c.server.Log.Panic("connection", value, stack)
	c.Close()
}

// Close ends the connection at once. Its commands run on.
func (c *Conn) Close() {
	if c.state == closed {
		return
	}
	s := c.server
	if c.state == lingering && s.LastWords != "" {
		s.heard = true
	}
	c.state = closed
	s.conns = sys.Remove(s.conns, c)
	c.linger.Stop()
	c.greeting.Stop()
	c.dropRequest()
	c.detach()
	c.loseChannels()
	c.stream.Close()
	s.Log.Info("disconnected", "conn", sys.Num(c.id))
	for _, f := range s.closed {
		f(c)
	}
	c.link.Lost(c.id, c.useful || reactor.Now()-c.born >= usefulAfter, c.guest)
	s.Changed()
}

// detach has what runs for the connection run on for none.
func (c *Conn) detach() {
	for _, f := range c.server.detached {
		f(c)
	}
}
