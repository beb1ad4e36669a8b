package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/sys"
)

// connState is where a connection stands.
type connState uint8

const (
	// connOpen: requests are read and answered.
	connOpen connState = iota
	// connEnded: the host shut down its writing side. What is due is sent, then the connection is closed.
	connEnded
	// connRefused: the host sent what cannot be read on from. What is queued is sent, then the writing side is shut down.
	connRefused
	// connLingering: the writing side is shut down, and what still comes is dropped, for a bounded time: closing a
	// socket with bytes unread may cost the host the last words.
	connLingering
	// connClosed: it is gone.
	connClosed
)

// conn is one connection to a host.
type conn struct {
	agent   *Agent
	link    link.Link
	id      uint32
	stream  reactor.Stream
	decoder framing.Decoder
	part    framing.Part // the one being handled
	state   connState
	due     int           // replies still to come that no request of this moment makes
	owed    answers       // those of spawn_watches
	useful  bool          // a frame was read
	guest   bool          // the far end is no host, but an agent too
	reset   bool          // it ended by a reset
	heavy   int           // commands started and files written in this turn
	opened  time.Duration // reactor.Now
	linger  reactor.Timer

	// A host is greeted once it had a first reply, or has asked nothing for a while. It gets nothing before that it did not ask for.
	answered bool
	greeted  bool
	greeting reactor.Timer

	// The request whose payload is coming in pieces, or that is being carried out before the next is looked at.
	upload  *upload
	long    []byte // an exec payload, mapped for it
	checker framing.ExecChecker

	ext extension
}

func (c *conn) open(fd int, peer string) {
	c.opened = reactor.Now()
	c.decoder.Window = reactor.BufferSize
	c.stream.Open(c.agent.loop, fd, peer, c)
	c.agent.log.Info("connected", "conn", sys.Num(c.id), "peer", peer, "uptime", sys.Uptime())
	if words := c.agent.cfg.LastWords; words != "" {
		c.replyError(0, words)
		c.state = connRefused
		c.stream.Flush()
		return
	}
	c.stream.Commit(framing.AppendFrame(c.stream.Space(framing.HeaderSize), framing.TypeReady, 0, nil))
	c.agent.loop.Start(&c.greeting, greetGrace, c)
	c.stream.Flush()
}

// answer notes that a reply is queued. What is unsolicited follows the first.
func (c *conn) answer() {
	if !c.answered && !c.guest {
		c.answered = true
		c.agent.loop.Start(&c.greeting, 0, c)
	}
}

// greet has it get what is unsolicited, and what was kept for it.
func (c *conn) greet() {
	if c.state == connOpen {
		c.answered, c.greeted = true, true
		c.agent.redirect()
	}
}

// reply queues a small frame that was appended to stream.Space.
//
//go:noinline
func (c *conn) reply(frame []byte) {
	c.answer()
	c.stream.Commit(frame)
}

// replySpliced queues the head of a frame whose rest was spliced to the stream.
func (c *conn) replySpliced(head []byte) {
	c.answer()
	c.stream.CommitSpliced(head)
}

// replyEmpty queues a frame without payload.
func (c *conn) replyEmpty(t framing.Type, seq uint32) {
	c.reply(framing.AppendFrame(c.stream.Space(framing.HeaderSize), t, seq, nil))
}

// send queues a frame that is made while it is sent. The connection does not end before.
//
//go:noinline
func (c *conn) send(src reactor.Source) {
	c.answer()
	c.due++
	c.stream.Send(src)
}

// sent is the other end of send.
//
//go:noinline
func (c *conn) sent() {
	c.due--
	c.settle()
}

// replyLater answers at a time when the stream may be in the middle of something.
//
//go:noinline
func (c *conn) replyLater(frame []byte) {
	if c.state == connClosed {
		return
	}
	c.send(&bytesSource{conn: c, bytes: frame})
}

// bytesSource is a small frame that waits for its turn.
type bytesSource struct {
	conn  *conn
	bytes []byte
}

func (s *bytesSource) Fill(b []byte) (int, bool) { return copy(b, s.bytes), true }
func (s *bytesSource) Sent(bool)                 { s.conn.sent() }

// Input implements [reactor.StreamHandler].
func (c *conn) Input(b []byte) (taken int) {
	c.heavy = 0
	for c.state == connOpen && !c.stream.Busy() && !c.committing() {
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
		c.useful = true
		if c.part.First() && c.part.Last() {
			c.frame(&c.part)
		} else {
			c.piece(&c.part)
		}
	}
	if c.state == connOpen {
		return taken
	}
	return len(b) // nothing more is looked at
}

// committing reports whether a write_file is being put in place, which comes before the next frame.
func (c *conn) committing() bool { return c.upload != nil && c.upload.committing }

// refuse ends a connection that cannot be read on from.
func (c *conn) refuse(reason error) {
	c.agent.log.Warn("connection refused", "conn", sys.Num(c.id), "reason", reason.Error())
	c.owed.flush()
	c.replyError(0, reason.Error())
	c.dropRequest()
	c.refused()
}

// refused: what is queued are the last words.
func (c *conn) refused() {
	c.state = connRefused
	c.disown()
	c.loseChannels()
	c.settle()
}

// replyError answers a request that could not be understood.
func (c *conn) replyError(seq uint32, message string) {
	c.agent.garbage.Collect(errorGarbage)
	message = sys.Clip(message, maxText)
	c.reply(framing.AppendError(c.stream.Space(framing.HeaderSize+2+len(message)), seq, message))
}

// End implements [reactor.StreamHandler].
func (c *conn) End(err error) {
	if err == nil && c.state == connOpen {
		c.state = connEnded
		c.dropRequest()
		c.loseChannels()
		c.settle()
		return
	}
	if err != nil {
		// A vsock connection that the device reset, and not the far end, is none any more to the kernel.
		errno := sys.ErrnoOf(err)
		c.reset = errno == unix.ENOTCONN || errno == unix.ECONNRESET
		c.agent.log.Debug("connection lost", "conn", sys.Num(c.id), "error", err.Error())
	}
	c.close()
}

// Drained implements [reactor.StreamHandler].
func (c *conn) Drained() {
	c.serveLine()
	c.settle()
	c.agent.stepDown()
}

// settle takes the next step of a connection that is coming to its end.
func (c *conn) settle() {
	if !c.stream.Idle() {
		return
	}
	switch {
	case c.state == connEnded && c.due == 0:
		c.close()
	case c.state == connRefused:
		c.state = connLingering
		unix.Shutdown(c.stream.FD(), unix.SHUT_WR)
		c.agent.loop.Start(&c.linger, lingerGrace, c)
	}
}

// Expired implements [reactor.TimerHandler]: the host had time enough.
func (c *conn) Expired(t *reactor.Timer) {
	if t == &c.greeting {
		c.greet()
	} else {
		c.close()
	}
}

// Failed implements [reactor.Failer]: a fault of ours costs no more than the connection.
func (c *conn) Failed(value any, stack []byte) {
	c.agent.log.Panic("connection", value, stack)
	c.close()
}

// close ends the connection at once. Commands of it run on.
func (c *conn) close() {
	if c.state == connClosed {
		return
	}
	told := c.state == connLingering
	c.state = connClosed
	a := c.agent
	a.conns = remove(a.conns, c)
	c.linger.Stop()
	c.greeting.Stop()
	c.dropRequest()
	c.disown()
	c.loseChannels()
	c.stream.Close()
	a.log.Info("disconnected", "conn", sys.Num(c.id))
	a.restores.ended(a, c)
	if a.cfg.LastWords != "" && told {
		a.Stop()
	}
	c.link.Lost(c.id, c.useful || reactor.Now()-c.opened >= link.MaxBackoff, c.guest)
	a.stepDown()
}

// disown lets what runs for the connection run on for nobody.
func (c *conn) disown() {
	c.owed.forget()
	for _, cmd := range c.agent.commands {
		if cmd.conn == c {
			cmd.conn = nil
		}
	}
	c.agent.syncs.forget(c)
	c.agent.freezer.forget(c)
	c.agent.power.forget(c)
}

// dropRequest undoes what was begun of a request that will not be whole.
func (c *conn) dropRequest() {
	if c.upload != nil && !c.upload.committing {
		c.upload.stage.Discard(&c.agent.disk)
		c.upload = nil
	}
	c.unmapLong()
}
