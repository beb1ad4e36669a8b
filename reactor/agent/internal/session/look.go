package session

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// look is a channel that shows the outputs of a kept session, beside the host that the session is
// bound to. It acknowledges nothing and holds nothing up: bytes that are gone from the ring before
// they were sent are missed.
type look struct {
	session *session
	conn    *wire.Conn
	seq     uint32
	follow  bool
	out     [2]shown
	missed  uint64 // bytes that were not there any more
	turn    int    // the output whose turn is next
	err     error  // why there is no more to show, or nil
}

// shown is what a look has shown of an output.
type shown struct {
	at     uint64 // the next byte
	end    uint64 // the last byte to show, without follow
	credit uint64
	closed bool // the host has been told of the end, or wants no more
}

var errNotKept = &sys.WordedError{
	Errno: unix.EINVAL, Words: "look at process: its output is not kept",
}

// look handles a look.
func (svc *Service) look(c *wire.Conn, p *framing.Part) error {
	r, err := framing.ParseLook(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	s := svc.find(r.ID)
	switch {
	case s == nil:
		c.Done(p.Seq, 0, sys.NewError("look at", "process", unix.ESRCH))
		return nil
	case !s.kept():
		c.Done(p.Seq, 0, errNotKept)
		return nil
	}
	l := &look{session: s, conn: c, seq: p.Seq, follow: r.Follow}
	l.out[0] = shown{at: r.Output, end: s.out[0].received(), credit: uint64(r.OutputCredit)}
	l.out[1] = shown{at: r.Errors, end: s.out[1].received(), credit: uint64(r.ErrorsCredit)}
	s.looks = append(s.looks, l)
	c.OpenChannel(p.Seq, l)
	l.queue()
	return nil
}

// show tells the looks at the session that there may be something new.
func (s *session) show() {
	for i := len(s.looks) - 1; i >= 0; i-- {
		s.looks[i].queue()
	}
}

// endLooks ends the looks at a session that is closed.
func (s *session) endLooks() {
	looks := s.looks
	s.looks = nil
	for _, l := range looks {
		l.err = sys.NewError("look at", "process", unix.ECANCELED)
		l.conn.Queue(l)
	}
}

// queue puts the look into the line of its connection, if it has something to send.
func (l *look) queue() {
	if l.skip(); l.over() || l.next() >= 0 {
		l.conn.Queue(l)
	}
}

// skip passes over bytes that the session does not hold any more.
func (l *look) skip() {
	for i := range l.out {
		if o, w := &l.session.out[i], &l.out[i]; !w.closed && w.at < o.acked {
			l.missed += o.acked - w.at
			w.at = o.acked
		}
	}
}

// upTo returns up to where output i can be shown now.
func (l *look) upTo(i int) uint64 {
	if l.follow {
		return l.session.out[i].received()
	}
	return l.out[i].end
}

// over reports whether all is shown.
func (l *look) over() bool {
	for i := range l.out {
		if w := &l.out[i]; l.err == nil && !w.closed && (w.at < l.upTo(i) || l.follow && !l.session.out[i].ended) {
			return false
		}
	}
	return true
}

// next returns the output that can be sent from now, or -1.
func (l *look) next() int {
	for n := range l.out {
		i := (l.turn + n) % 2
		if w := &l.out[i]; !w.closed && w.credit > 0 && w.at < l.upTo(i) {
			return i
		}
	}
	return -1
}

// Produce implements [wire.Producer].
func (l *look) Produce() (more bool) {
	l.skip()
	if l.over() {
		l.Lost()
		l.conn.CloseChannel(l)
		l.conn.Done(l.seq, l.missed, l.err)
		return false
	}
	i := l.next()
	if i < 0 {
		return false
	}
	l.turn = 1 - i
	o, w, c := &l.session.out[i], &l.out[i], l.conn
	n := int(min(w.credit, wire.MaxOutput, l.upTo(i)-w.at))
	frame := c.Space(framing.OutputHeaderSize + n)[:framing.OutputHeaderSize+n]
	o.copyFrom(w.at, frame[framing.OutputHeaderSize:])
	framing.AppendOutputHead(frame[:0], l.seq, o.stream, n)
	c.Reply(frame)
	w.at += uint64(n)
	w.credit -= uint64(n)
	return l.over() || l.next() >= 0
}

// copyFrom copies held bytes from offset at on out of the ring.
func (o *outlet) copyFrom(at uint64, b []byte) {
	n := copy(b, o.ring[at%reactor.BufferSize:])
	copy(b[n:], o.ring)
}

// Credit implements [wire.Source].
func (l *look) Credit(stream framing.Stream, n uint32) {
	if w := l.stream(stream); w != nil {
		w.credit += uint64(n)
		l.queue()
	}
}

// stream returns the output with that number, or nil.
func (l *look) stream(stream framing.Stream) *shown {
	if stream == framing.StreamOutput || stream == framing.StreamErrors {
		return &l.out[stream-framing.StreamOutput]
	}
	return nil
}

// End implements [wire.Channel].
func (l *look) End(stream framing.Stream) {
	if w := l.stream(stream); w != nil {
		w.closed = true
		l.queue()
	}
}

// Lost implements [wire.Channel].
func (l *look) Lost() { l.session.looks = sys.Remove(l.session.looks, l) }
