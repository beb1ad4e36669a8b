package wire

import (
	"slices"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Channel is what frames with one seq go to, from [Conn.OpenChannel] to [Conn.CloseChannel]. It
// may be a [Sink], a [Resizer] and a [Skipper] too. A channel that has credit to take is a
// [Source].
type Channel interface {
	// End is the host's close of a stream.
	End(s framing.Stream)
	// Lost tells that the connection is gone, or will bring nothing more. The channel is closed
	// already.
	Lost()
}

// Sink is a channel that takes content from the host. Content for another is more than was
// granted.
type Sink interface {
	// Input takes a part of an input, and does not keep it. It reports false if the input is more
	// than was granted.
	Input(p *framing.Part) bool
}

// Source is a channel that sends content to the host.
type Source interface {
	// Credit grants n more bytes of an output stream.
	Credit(s framing.Stream, n uint32)
}

// Resizer is a channel that leads to a terminal.
type Resizer interface {
	Resize(rows, columns uint16)
}

// Skipper is a channel whose content may have holes.
type Skipper interface {
	// Skip takes a hole of n bytes.
	Skip(n uint64)
}

// Producer is a channel that has something to send, as others of its connection may have too.
type Producer interface {
	// Produce queues at most one frame, and reports whether there is more to send at once. The
	// stream is not busy.
	Produce() (more bool)
}

// numbered is a channel and the seq by which both sides know it.
type numbered struct {
	seq uint32
	Channel
}

const (
	// maxChannels is the most channels of a connection.
	maxChannels = 512
	// lineMark is how many bytes may be queued when another frame is added to them.
	lineMark = 1 << 10
	// MaxOutput is the most content of an output frame that is copied. Two fit a buffer.
	MaxOutput = reactor.BufferSize/2 - framing.OutputHeaderSize - lineMark
)

// handleChannels registers the handlers of the types that are about channels.
func (s *Server) handleChannels() {
	s.HandleParts(framing.TypeInput, func(c *Conn, p *framing.Part) error {
		ch := c.Channel(p.Seq)
		if ch != nil && !take(ch, p) {
			c.refuse(inputError(p.Seq))
		} else if p.Size >= LeastSpliced {
			c.expectLong(p.Seq)
		}
		return nil
	})
	s.Handle(framing.TypeClose, func(c *Conn, p *framing.Part) error {
		stream, err := framing.ParseClose(p.Data)
		if ch := c.Channel(p.Seq); ch != nil && err == nil {
			ch.End(stream)
		}
		return err
	})
	s.Handle(framing.TypeCredit, func(c *Conn, p *framing.Part) error {
		stream, n, err := framing.ParseCredit(p.Data)
		if ch, ok := c.Channel(p.Seq).(Source); ok && err == nil {
			ch.Credit(stream, n)
		}
		return err
	})
	s.Handle(framing.TypeSkip, func(c *Conn, p *framing.Part) error {
		n, err := framing.ParseSkip(p.Data)
		if ch, ok := c.Channel(p.Seq).(Skipper); ok && err == nil {
			ch.Skip(n)
		}
		return err
	})
	s.Handle(framing.TypeResize, func(c *Conn, p *framing.Part) error {
		rows, columns, err := framing.ParseResize(p.Data)
		if ch, ok := c.Channel(p.Seq).(Resizer); ok && err == nil {
			ch.Resize(rows, columns)
		}
		return err
	})
}

// take gives a part of an input to its channel.
func take(ch Channel, p *framing.Part) bool {
	if sink, ok := ch.(Sink); ok {
		return sink.Input(p)
	}
	return len(p.Data) == 0
}

// Channel returns the channel with that seq, or nil: the channel may have ended while the frame was
// under way.
func (c *Conn) Channel(seq uint32) Channel {
	for i := range c.channels {
		if c.channels[i].seq == seq {
			return c.channels[i].Channel
		}
	}
	return nil
}

// MayOpen reports whether a channel can be opened with that seq, and answers the request if not.
func (c *Conn) MayOpen(seq uint32) bool {
	switch {
	case c.Channel(seq) != nil:
		c.Error(seq, "seq "+sys.Num(seq)+" is in use")
	case len(c.channels) == maxChannels:
		c.Error(seq, "too many channels (limit "+sys.Num(maxChannels)+")")
	default:
		return true
	}
	return false
}

// OpenChannel has frames with that seq go to ch. The connection does not end before the channel
// does, unless its host ends it.
func (c *Conn) OpenChannel(seq uint32, ch Channel) {
	c.channels = append(c.channels, numbered{seq, ch})
}

// CloseChannel ends a channel. Frames that it has queued are still sent.
func (c *Conn) CloseChannel(ch Channel) {
	c.channels = slices.DeleteFunc(c.channels, func(n numbered) bool { return n.Channel == ch })
	if p, ok := ch.(Producer); ok {
		c.line = sys.Remove(c.line, p)
	}
}

// loseChannels ends all channels, with their connection.
func (c *Conn) loseChannels() {
	channels := c.channels
	c.channels, c.line = nil, nil
	for _, n := range channels {
		n.Lost()
	}
	c.server.redirect()
}

// Queue puts a producer in the line of those that have something to send.
func (c *Conn) Queue(p Producer) {
	if c.state == open && !slices.Contains(c.line, p) {
		c.line = append(c.line, p)
		c.serveLine()
	}
}

// Crowded reports whether other producers wait in the line.
func (c *Conn) Crowded() bool { return len(c.line) > 0 }

// serveLine lets the producers in the line send, a frame each in turn, for as long as the host
// takes it. Their frames never make the stream busy: between any two there is room for a reply,
// and requests are read. So a producer holds up others, and replies, by at most one frame.
func (c *Conn) serveLine() {
	for len(c.line) > 0 && c.state == open && !c.stream.Busy() && c.stream.Queued() < lineMark {
		p := c.line[0]
		c.line = sys.Remove(c.line, p)
		if p.Produce() {
			c.line = append(c.line, p)
		}
	}
	c.stream.Flush()
}
