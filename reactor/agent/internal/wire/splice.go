package wire

import "wick/framing"

const (
	// LeastSpliced is the content from which a splice is faster than a copy, in bytes.
	LeastSpliced = 16 << 10
	// MaxSpliced limits the content of an output frame that is spliced, in bytes. A reply
	// waits for no more than that.
	MaxSpliced = 256 << 10
	// maxTurn is that limit while other channels of the connection have something to send.
	maxTurn = 128 << 10
	// exactReads is how many exact reads may find no long input before they end.
	exactReads = 8
)

// SpliceOutput queues an output frame whose content goes from a pipe or a socket to the connection
// without a copy. most is at least 1. full reports that the frame has as much as it may, so there
// may be more. n and err are those of [reactor.Stream.SpliceFrom].
func (c *Conn) SpliceOutput(seq uint32, s framing.Stream, fd int, most uint64) (n int, full bool, err error) {
	limit := uint64(MaxSpliced)
	if c.Crowded() {
		limit = maxTurn
	}
	most = min(most, limit)
	if n, err = c.stream.SpliceFrom(fd, int(most)); n > 0 {
		c.answer()
		c.stream.CommitSpliced(framing.AppendOutputHead(c.Space(framing.OutputHeaderSize), seq, s, n))
	}
	return n, n == int(most), err
}

// Taker is a [Sink] that takes long inputs from a Unix socket without a copy. After a long input
// the next reads are exact: they end with a header, or with a short frame. Behind the header of
// another long input all its content is still in the socket, and is spliced.
type Taker interface {
	Sink
	// Pipe returns the pipe that takes the next n bytes, as far as there is room; -1 if Input
	// is to take them.
	Pipe(n int) (fd int)
	// Took is told that n bytes went to the pipe.
	Took(n int)
}

// pipe returns the pipe that takes the next n bytes of the channel seq, and its channel. It
// returns -1 if there is no pipe.
func (c *Conn) pipe(seq uint32, n int) (fd int, t Taker) {
	if t, ok := c.Channel(seq).(Taker); ok {
		return t.Pipe(n), t
	}
	return -1, nil
}

// expectLong makes the next reads exact, after a long input.
func (c *Conn) expectLong(seq uint32) {
	if fd, _ := c.pipe(seq, 0); fd >= 0 && c.stream.DivertTo(c) {
		c.exact = exactReads
	}
}

// begin reports whether b is the header, and nothing more, of a long input that is spliced.
func (c *Conn) begin(b []byte) bool {
	h, ok := c.decoder.Head(b)
	if !ok || len(b) > framing.HeaderSize || h.Type != framing.TypeInput || h.Size < LeastSpliced || c.state != open {
		return false
	}
	if fd, _ := c.pipe(h.Seq, h.Size); fd < 0 {
		return false
	}
	c.part.Header = h
	c.decoder.Begin(h)
	c.exact = exactReads
	return true
}

// limitRead has the next read end with a header or with the frame. rest was read already. The
// limit within another long frame is its handler's.
func (c *Conn) limitRead(rest []byte) {
	n := framing.HeaderSize - len(rest)
	if c.decoder.Mid() {
		if c.part.Type != framing.TypeInput {
			return
		}
		n = c.decoder.Left()
	} else if h, ok := c.decoder.Head(rest); ok {
		n += h.Size
	}
	if c.exact--; c.exact == 0 {
		n = 0
	}
	c.stream.ReadAtMost(max(n, 0))
}

// Divert implements [reactor.Diverter]. The part handled last is of the input under way.
func (c *Conn) Divert() (fd, n int) {
	n = c.decoder.Left()
	if n == 0 || c.part.Type != framing.TypeInput || c.state != open {
		return -1, 0
	}
	fd, _ = c.pipe(c.part.Seq, n)
	return fd, n
}

// Diverted implements [reactor.Diverter].
func (c *Conn) Diverted(n int) {
	c.decoder.Skip(n)
	c.exact = exactReads
	c.limitRead(nil)
	_, t := c.pipe(c.part.Seq, 0)
	t.Took(n)
}
