package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// frame handles a frame that is whole.
func (c *conn) frame(p *framing.Part) {
	switch p.Type {
	case framing.TypeExec, framing.TypeSpawnWatch:
		c.exec(p.Type, p.Seq, p.Data)
	case framing.TypeWriteFile:
		c.beginUpload(p)
		c.continueUpload(p.Data, true)
	default:
		c.other(p)
	}
}

// other handles what has no payload worth looking at.
func (c *conn) other(p *framing.Part) {
	switch p.Type {
	case framing.TypePing:
		c.replyEmpty(framing.TypePong, p.Seq)
	case framing.TypeReady:
		c.meetGuest(p)
	case framing.TypeShutdown:
		c.agent.syncs.request(c, p.Seq)
	case framing.TypeError:
		// Never answered: two agents that answer each other's errors would not stop.
		text, _ := framing.ParseError(p.Data)
		c.agent.garbage.Collect(errorGarbage)
		c.agent.log.Warn("error from the host", "conn", sys.Num(c.id), "seq", sys.Num(p.Seq), "message", sys.Clip(string(text), maxLogged))
	default:
		if !c.extended(p) {
			c.replyError(p.Seq, unknownType(p.Type))
		}
	}
}

// meetGuest handles a ready. A far end that begins with one is an agent, as where two were started at one path: the one that dialled
// leaves, and the other tells it nothing that is for a host. Otherwise it is a type like any other that only a guest may send.
func (c *conn) meetGuest(p *framing.Part) {
	if !c.answered && p.Seq == 0 && p.Size == 0 {
		c.guest = true
		c.greeting.Stop()
		if !c.link.Vsock() && c.link.Dialed(c.id) {
			c.close()
			return
		}
	}
	c.replyError(p.Seq, unknownType(framing.TypeReady))
}

func unknownType(t framing.Type) string {
	const digits = "0123456789ABCDEF"
	return string(append([]byte("unknown message type 0x"), digits[t>>4], digits[t&15]))
}

// piece handles a part of a frame that is longer than the window. Of most messages only the end matters.
func (c *conn) piece(p *framing.Part) {
	switch p.Type {
	case framing.TypeWriteFile:
		if p.First() {
			c.beginUpload(p)
		}
		c.continueUpload(p.Data, p.Last())
	case framing.TypeExec, framing.TypeSpawnWatch:
		c.longExec(p)
	default:
		if !c.ext.asked || !c.longExtended(p) {
			if p.Last() {
				c.other(p)
			}
		}
	}
}

// longExec gathers an exec payload, or if it is too long to be run only checks it.
func (c *conn) longExec(p *framing.Part) {
	if p.Size > maxExec {
		if p.First() {
			c.checker.Reset(p.Type, p.Size)
		}
		c.checker.Check(p.Data)
		if !p.Last() {
			return
		}
		if err := c.checker.Finish(); err != nil {
			c.replyError(p.Seq, err.Error())
			return
		}
		c.notStarted(p.Type, p.Seq, sys.NewError("exec", shell, unix.E2BIG))
		return
	}
	if !c.gather(p) {
		return
	}
	if c.long == nil {
		c.notStarted(p.Type, p.Seq, sys.NewError("mmap", "command", unix.ENOMEM))
		return
	}
	c.exec(p.Type, p.Seq, c.long[:p.Size])
	c.unmapLong()
}

// gather puts the parts of a payload of at most maxExec bytes together, and reports whether it is whole: in c.long, which is nil if there
// is no memory.
func (c *conn) gather(p *framing.Part) bool {
	if p.First() {
		// Memory of its own, which comes as bytes do and is gone afterwards.
		long, err := unix.Mmap(-1, 0, maxExec, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err == nil {
			c.long = long
		}
	}
	if c.long != nil {
		copy(c.long[p.Offset:], p.Data)
	}
	return p.Last()
}

func (c *conn) unmapLong() {
	if c.long != nil {
		unix.Munmap(c.long)
		c.long = nil
	}
}
