package agent

import (
	"slices"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// extension is a connection's part in the messages that framing/extension.md describes. A connection has none before its hello.
type extension struct {
	asked    bool // a hello was answered
	channels []opened
	line     []producer // those that have something to send, in turn
}

// opened is a channel and the seq by which both sides know it.
type opened struct {
	seq uint32
	channel
}

// channel is what frames about a stream go to, until it is closed.
type channel interface {
	// input takes content of stream 0, which is not kept. It reports false if that is more than was granted.
	input(b []byte) bool
	// credit grants n more bytes of an output stream.
	credit(s framing.Stream, n uint32)
	// end is the host's close of a stream.
	end(s framing.Stream)
	// resize is a new size of the terminal, if there is one.
	resize(rows, columns uint16)
	// lost tells that the connection is gone, or will bring nothing more. The channel is closed already.
	lost()
}

// producer has something to send on a connection where others may too.
type producer interface {
	// produce queues at most one frame, and reports whether there is more to come at once. The stream is not busy.
	produce() (more bool)
}

// extended handles a whole frame of the extension, and reports whether there is such a type.
func (c *conn) extended(p *framing.Part) bool {
	if !c.ext.asked {
		return p.Type == framing.TypeHello && c.hello(p)
	}
	switch p.Type {
	case framing.TypeHello:
		if !c.hello(p) {
			c.replyError(p.Seq, "hello: no version")
		}
		return true
	case framing.TypeInput, framing.TypeClose, framing.TypeCredit, framing.TypeResize, framing.TypeSkip:
		c.aboutChannel(p)
		return true
	}
	return c.processRequest(p) || c.fileRequest(p) || c.machineRequest(p)
}

// longExtended handles a part of a frame of the extension that is longer than the window, and reports whether it is one to look at before
// it is whole. Only two of them have reason to be that long, and some are not looked at at all.
func (c *conn) longExtended(p *framing.Part) bool {
	switch p.Type {
	case framing.TypeStart:
		c.longStart(p)
	case framing.TypeInput:
		c.aboutChannel(p)
	case framing.TypeRelease, framing.TypeProcesses, framing.TypeStats, framing.TypeThaw:
		return false // empty, whatever they hold
	default:
		if p.Type < framing.TypeHello || !p.Type.FromHost() {
			return false
		}
		if p.Last() {
			c.replyError(p.Seq, p.Type.String()+": payload is long")
		}
	}
	return true
}

// hello answers a host that asks for the extension. A payload that is none asks for nothing: to a host that only happens to use the
// type it is as unknown as ever.
func (c *conn) hello(p *framing.Part) bool {
	version, err := framing.ParseHello(p.Data)
	if err != nil || version == 0 || !p.First() {
		return false
	}
	c.ext.asked = true
	r := framing.HelloResult{Version: min(version, framing.Version), Features: c.agent.features(), Epoch: c.agent.restores.epoch}
	c.agent.addFacts(&r.Facts)
	c.replyLater(framing.AppendHelloResult(nil, p.Seq, &r))
	return true
}

// aboutChannel hands a frame to its channel. One that has ended is not there any more, and the frame was under way.
func (c *conn) aboutChannel(p *framing.Part) {
	ch := c.channel(p.Seq)
	switch p.Type {
	case framing.TypeInput:
		if ch != nil && !ch.input(p.Data) {
			c.refuse(inputError(p.Seq))
		}
	case framing.TypeClose:
		s, err := framing.ParseClose(p.Data)
		if err != nil {
			c.replyError(p.Seq, err.Error())
		} else if ch != nil {
			ch.end(s)
		}
	case framing.TypeCredit:
		s, n, err := framing.ParseCredit(p.Data)
		if err != nil {
			c.replyError(p.Seq, err.Error())
		} else if ch != nil {
			ch.credit(s, n)
		}
	case framing.TypeSkip:
		n, err := framing.ParseSkip(p.Data)
		if err != nil {
			c.replyError(p.Seq, err.Error())
		} else if w, ok := ch.(*fileWrite); ok {
			w.skip(n)
		}
	case framing.TypeResize:
		rows, columns, err := framing.ParseResize(p.Data)
		if err != nil {
			c.replyError(p.Seq, err.Error())
		} else if ch != nil {
			ch.resize(rows, columns)
		}
	}
}

// inputError is more input than was granted. Where the rest of it belongs nobody knows, so the connection is of no more use.
type inputError uint32

func (e inputError) Error() string { return "more input than credit, seq " + sys.Num(uint32(e)) }

// channel is the one with that seq, or nil.
func (c *conn) channel(seq uint32) channel {
	for i := range c.ext.channels {
		if c.ext.channels[i].seq == seq {
			return c.ext.channels[i].channel
		}
	}
	return nil
}

// maxChannels is the most channels of a connection.
const maxChannels = 512

// mayOpen reports whether a channel can be opened with that seq, and answers the request if not.
func (c *conn) mayOpen(seq uint32) bool {
	switch {
	case c.channel(seq) != nil:
		c.replyError(seq, "seq "+sys.Num(seq)+" is in use")
	case len(c.ext.channels) == maxChannels:
		c.replyError(seq, "too many channels (limit "+sys.Num(maxChannels)+")")
	default:
		return true
	}
	return false
}

// openChannel has frames with that seq go to ch. The connection does not end before the channel does, unless its host ends it.
func (c *conn) openChannel(seq uint32, ch channel) {
	c.ext.channels = append(c.ext.channels, opened{seq, ch})
}

// closeChannel ends it. What it has queued is still sent.
func (c *conn) closeChannel(ch channel) {
	c.ext.channels = slices.DeleteFunc(c.ext.channels, func(o opened) bool { return o.channel == ch })
	if p, ok := ch.(producer); ok {
		c.ext.line = remove(c.ext.line, p)
	}
}

// loseChannels ends all of them, with their connection.
func (c *conn) loseChannels() {
	channels := c.ext.channels
	c.ext.channels, c.ext.line = nil, nil
	for _, o := range channels {
		o.lost()
	}
	c.agent.redirect()
}

// queue puts a producer in the line of those that have something to send.
func (c *conn) queue(p producer) {
	if c.state == connOpen && !slices.Contains(c.ext.line, p) {
		c.ext.line = append(c.ext.line, p)
		c.serveLine()
	}
}

// serveLine lets those in the line send, a frame each in turn, for as long as the host takes it. The stream is never busy of it: between
// any two long frames there is room for a reply, and what the host asks is read. So what one has to send does not hold up what
// others have, nor a reply, by more than a frame.
func (c *conn) serveLine() {
	for len(c.ext.line) > 0 && c.state == connOpen && !c.stream.Busy() && c.stream.Queued() < lineMark {
		p := c.ext.line[0]
		c.ext.line = remove(c.ext.line, p)
		if p.produce() {
			c.ext.line = append(c.ext.line, p)
		}
	}
	c.stream.Flush()
}

const (
	// lineMark is how many bytes may be queued when another frame is added to them.
	lineMark = 1 << 10
	// maxOutput is the most content of an output frame that is copied.
	maxOutput = reactor.BufferSize/2 - framing.OutputHeaderSize - lineMark
)

// done ends an operation. err is nil, or wraps the errno; otherwise the errno is EINVAL.
func (c *conn) done(seq uint32, value uint64, err error) {
	c.reply(appendDone(c.stream.Space(doneRoom), seq, value, err))
}

// doneLater is done at a time when the stream may be in the middle of something.
func (c *conn) doneLater(seq uint32, value uint64, err error) {
	c.replyLater(appendDone(nil, seq, value, err))
}

// doneRoom is enough for every done.
const doneRoom = framing.HeaderSize + 4 + 8 + 2 + maxText

//go:noinline
func appendDone(dst []byte, seq uint32, value uint64, err error) []byte {
	if err == nil {
		return framing.AppendDone(dst, seq, 0, value, "")
	}
	errno := sys.ErrnoOf(err)
	if errno == 0 {
		errno = unix.EINVAL
	}
	return framing.AppendDone(dst, seq, uint32(errno), value, sys.Clip(err.Error(), maxText))
}
