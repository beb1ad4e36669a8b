package wire

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

const (
	// MaxText is the longest reason or message of the agent, in bytes.
	MaxText = 1 << 10
	// doneRoom is enough for every done.
	doneRoom = framing.HeaderSize + 4 + 8 + 2 + MaxText
	// errorGarbage is what an error leaves, in bytes.
	errorGarbage = 256
)

// Space returns an empty slice with room for a frame of n bytes, for Reply.
func (c *Conn) Space(n int) []byte { return c.stream.Space(n) }

// answer notes that a reply is queued. Unsolicited frames follow it.
func (c *Conn) answer() {
	if !c.answered && !c.guest {
		c.answered = true
		c.server.Loop.Start(&c.greeting, 0, c)
	}
}

// Reply queues a frame that was appended to what Space returned. It is for a handler, and for a
// [Producer]; at other times use ReplyLater.
func (c *Conn) Reply(frame []byte) {
	c.answer()
	c.stream.Commit(frame)
}

// ReplyEmpty is Reply with a frame without payload.
func (c *Conn) ReplyEmpty(t framing.Type, seq uint32) {
	c.Reply(framing.AppendFrame(c.stream.Space(framing.HeaderSize), t, seq, nil))
}

// Send queues a frame that is made while it is sent. The source calls Sent when it is, or will
// never be. The connection does not end before.
func (c *Conn) Send(src reactor.Source) {
	c.answer()
	c.due++
	c.stream.Send(src)
}

// Owe keeps the connection from ending before as many calls of Sent.
func (c *Conn) Owe() { c.due++ }

// Sent is the other end of Send and of Owe.
func (c *Conn) Sent() {
	c.due--
	c.settle()
}

// ReplyLater queues a frame at a time when the stream may be in the middle of another. On a closed
// connection it does nothing.
func (c *Conn) ReplyLater(frame []byte) {
	if c.state != closed {
		c.Send(&bytesSource{conn: c, bytes: frame})
	}
}

// bytesSource is a frame that waits for its turn. bytes is what is left of it.
type bytesSource struct {
	conn  *Conn
	bytes []byte
}

func (s *bytesSource) Fill(b []byte) (n int, last bool) {
	n = copy(b, s.bytes)
	s.bytes = s.bytes[n:]
	return n, len(s.bytes) == 0
}

func (s *bytesSource) Sent(bool) { s.conn.Sent() }

// Error answers a request with an error.
func (c *Conn) Error(seq uint32, message string) {
	c.server.Garbage.Collect(errorGarbage)
	message = sys.Clip(message, MaxText)
	c.Reply(framing.AppendError(c.stream.Space(framing.HeaderSize+2+len(message)), seq, message))
}

// Done ends an operation. err is nil, or wraps the errno that is sent; EINVAL if it wraps none.
func (c *Conn) Done(seq uint32, value uint64, err error) {
	c.Reply(appendDone(c.stream.Space(doneRoom), seq, value, err))
}

// DoneLater is Done at a time when the stream may be in the middle of another frame.
func (c *Conn) DoneLater(seq uint32, value uint64, err error) {
	c.ReplyLater(appendDone(nil, seq, value, err))
}

func appendDone(dst []byte, seq uint32, value uint64, err error) []byte {
	if err == nil {
		return framing.AppendDone(dst, seq, 0, value, "")
	}
	errno := sys.ErrnoOf(err)
	if errno == 0 {
		errno = unix.EINVAL
	}
	return framing.AppendDone(dst, seq, uint32(errno), value, sys.Clip(err.Error(), MaxText))
}

// Waiter is a request that is answered later by done. The zero Waiter has no request.
type Waiter struct {
	// Value is what done says beside the error.
	Value uint64
	conn  *Conn
	seq   uint32
}

// Wait makes it the request seq of c, which does not end before it is answered.
func (w *Waiter) Wait(c *Conn, seq uint32) {
	c.due++
	*w = Waiter{conn: c, seq: seq}
}

// Conn returns the request's connection; nil if there is no request, or its connection is gone.
func (w *Waiter) Conn() *Conn { return w.conn }

// Answer answers the request, if there is one.
func (w *Waiter) Answer(err error) {
	c := w.conn
	if c == nil {
		return
	}
	w.conn = nil
	c.DoneLater(w.seq, w.Value, err)
	c.Sent()
}

// Forget drops the request if it is c's, which takes no answers any more.
func (w *Waiter) Forget(c *Conn) {
	if w.conn == c {
		w.conn = nil
	}
}
