package session

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// session is one start, from the fork to the moment when its exited has gone out, and for one that is kept, when the host has released it
// or has stayed away for too long.
//
//	launching ──▶ running ──exit──▶ exited ──outputs at their end, or what was in them pipeGrace later──▶ decided ──▶ exited is sent
//	                  └──kill──▶ killed ──as above, or killGrace──▶ decided
//
// All the while a connection has it, or for one that is kept none.
type session struct {
	process  launch.Process
	service  *Service
	id       uint64
	conn     *wire.Conn // that has it; nil for none
	seq      uint32
	keep     uint32 // milliseconds; 0: it is killed with its connection
	keepTime reactor.Timer
	cap      uint64
	terminal bool
	tellHeld bool // the host knows of outputs that are held
	line     int  // the process's side of its terminal, held open until it has exited; 0 for none

	in   inlet
	out  [2]outlet
	turn int               // which output is next
	peak contain.PeakMeter // of its cgroup, since the start

	receipt   framing.Exited
	launching bool // it is not known yet if it can be started
	greeting  bool // started is to be sent
	told      bool // exited was sent
	cancelled bool
	forgotten bool // it is in no list any more
	producing bool // produce is at work
}

func (s *session) kept() bool       { return s.keep != 0 }
func (s *session) onTerminal() bool { return s.terminal }

// bind attaches the session to c as the channel seq.
func (s *session) bind(c *wire.Conn, seq uint32) {
	s.conn, s.seq = c, seq
	s.keepTime.Stop()
	s.told = false
	c.OpenChannel(seq, s)
	s.in.resume()
	s.greeting = true
}

// push has it send what it has to.
func (s *session) push() {
	if s.conn != nil && !s.producing && s.ready() {
		s.conn.Queue(s)
	}
}

// ready reports whether there is something to send.
func (s *session) ready() bool {
	switch {
	case s.launching || s.told:
		return false
	case s.greeting, s.in.pending(), s.out[0].ready(), s.out[1].ready():
		return true
	}
	return s.ending()
}

// ending reports whether exited is all that is left to send.
func (s *session) ending() bool { return s.process.Decided() && s.out[0].closed && s.out[1].closed }

// Produce implements [wire.Producer].
func (s *session) Produce() (more bool) {
	s.producing = true
	defer func() { s.producing = false }()
	c := s.conn
	if c == nil || !s.ready() {
		return false
	}
	switch {
	case s.greeting:
		s.greeting = false
		started := framing.Started{PID: uint32(s.process.PID()), Taken: s.in.taken, Credit: s.in.window}
		c.Reply(framing.AppendStarted(c.Space(framing.HeaderSize+16), s.seq, started))
	case s.in.broken:
		s.in.broken = false
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), s.seq, framing.StreamInput))
	case s.in.pending():
		n := s.in.given
		s.in.given = 0
		s.in.window += n
		c.Reply(framing.AppendCredit(c.Space(framing.HeaderSize+5), s.seq, framing.StreamInput, n))
	case s.ending():
		s.told = true
		c.Reply(framing.AppendExited(c.Space(exitedRoom), s.seq, &s.receipt))
		if !s.kept() {
			c.CloseChannel(s)
			s.forget()
		}
	default:
		o := &s.out[s.turn]
		if !o.ready() {
			o = &s.out[1-s.turn]
		}
		s.turn = 1 - s.turn
		o.produce()
	}
	return s.ready()
}

// exitedRoom is enough for every exited.
const exitedRoom = framing.HeaderSize + 90 + wire.MaxText

// Input implements [wire.Sink]. A frame larger than the whole window is refused outright, so that its tail
// cannot use credit granted later.
func (s *session) Input(p *framing.Part) bool {
	if p.Size > inputWindow || !s.in.put(p.Data) {
		return false
	}
	s.push()
	return true
}

// outlet is an output by its number, or nil.
func (s *session) outlet(stream framing.Stream) *outlet {
	for i := range s.out {
		if s.out[i].stream == stream {
			return &s.out[i]
		}
	}
	return nil
}

// Credit implements [wire.Source].
func (s *session) Credit(stream framing.Stream, n uint32) {
	if o := s.outlet(stream); o != nil {
		o.grant(n)
		s.push()
	}
}

// End implements [wire.Channel]. A terminal whose output is not wanted is hung up.
func (s *session) End(stream framing.Stream) {
	if o := s.outlet(stream); o == nil {
		s.in.end()
	} else if !o.unwanted {
		o.unwant()
		if s.terminal && stream == framing.StreamOutput {
			s.in.close()
		}
	}
	s.push()
}

// Resize implements [wire.Resizer].
func (s *session) Resize(rows, columns uint16) {
	if s.terminal && s.out[0].pipe.Open() {
		launch.ResizeTerminal(s.out[0].pipe.FD(), rows, columns)
	}
}

// Lost implements [wire.Channel].
func (s *session) Lost() {
	s.conn = nil
	if !s.kept() {
		s.forget()
		return
	}
	s.in.lost()
	s.waitForHost()
	s.service.Changed()
}

// waitForHost begins the time that it is kept without a connection.
func (s *session) waitForHost() {
	if s.keep != framing.KeepForEver {
		s.service.Loop.Start(&s.keepTime, time.Duration(s.keep)*time.Millisecond, (*keeper)(s))
	}
}

// keeper is a session as the handler of that time's end.
type keeper session

func (k *keeper) Expired(*reactor.Timer) {
	s := (*session)(k)
	s.forget()
	s.service.Changed()
}

// Failed implements [reactor.Failer].
func (k *keeper) Failed(value any, stack []byte) { (*session)(k).Failed(value, stack) }

// attach has the session go on as another channel, at the offsets that the host has.
func (s *session) attach(c *wire.Conn, seq uint32, a *framing.Attach) {
	old, oldSeq := s.leaveConn()
	for i, x := range [...]struct {
		offset uint64
		credit uint32
	}{{a.Output, a.OutputCredit}, {a.Errors, a.ErrorsCredit}} {
		s.out[i].resume(x.offset, x.credit)
	}
	s.bind(c, seq)
	// Only now, for it may be the same connection, and to tell it may be its end.
	if old != nil {
		old.ReplyLater(framing.AppendError(nil, oldSeq, "attached by another connection"))
	}
	s.push()
}

// leaveConn takes it from its connection, if it has one, which is to be told why.
func (s *session) leaveConn() (c *wire.Conn, seq uint32) {
	if c = s.conn; c != nil {
		c.CloseChannel(s)
		s.conn = nil
		s.in.lost()
	}
	return c, s.seq
}

// release is the host's word that it has the exited of a kept session.
func (s *session) release() {
	s.conn.CloseChannel(s)
	s.forget()
}

// Gone implements [launch.Owner].
func (s *session) Gone() {
	s.closeLine()
	if s.forgotten || s.process.Decided() {
		s.process.LeaveBox()
		return
	}
	s.out[0].look()
	s.out[1].look()
	s.settle()
}

// Overdue implements [launch.Owner].
func (s *session) Overdue() {
	if !s.process.HasExited() {
		s.decide()
		return
	}
	s.out[0].hurry()
	s.out[1].hurry()
	s.settle()
}

// SignalGroup implements [launch.Owner].
func (s *session) SignalGroup(sig unix.Signal) {
	if s.terminal && s.out[0].pipe.Open() {
		if group := launch.Foreground(s.out[0].pipe.FD()); group > 0 {
			unix.Kill(-group, sig)
			return
		}
	}
	s.process.SignalGroup(sig)
}

// Cancel implements [launch.Owner].
func (s *session) Cancel() {
	s.cancelled = true
	s.process.Abort()
}

// Record implements [launch.Owner].
func (s *session) Record() framing.Process {
	r := s.process.Record()
	r.ID, r.Attached, r.Terminal = s.id, s.conn != nil, s.terminal
	return r
}

// settle looks whether there is nothing more to wait for.
func (s *session) settle() {
	if s.process.HasExited() && !s.process.Decided() && s.out[0].ended && s.out[1].ended {
		s.decide()
	}
}

// decide makes the receipt. From here on output is read and dropped.
func (s *session) decide() {
	s.process.Decide()
	s.makeReceipt()
	s.peak.Close()
	if s.process.HasExited() {
		s.process.LeaveBox()
	}
	s.in.close()
	s.out[0].finish()
	s.out[1].finish()
	if l := s.service.Log; l.Enabled(log.LevelDebug) {
		l.Debug("process ended", "pid", sys.Num(s.process.PID()), "code", sys.Num(s.receipt.Code))
	}
	s.push()
	s.service.Changed()
}

// forget ends the session. What runs of it is killed.
func (s *session) forget() {
	if s.forgotten {
		return
	}
	s.forgotten = true
	s.service.sessions = sys.Remove(s.service.sessions, s)
	s.conn = nil
	s.keepTime.Stop()
	s.process.Decide()
	s.in.close()
	for i := range s.out {
		s.out[i].release(!s.process.HasExited() || s.launching) // a program that was not executed wrote nothing
	}
	s.peak.Close()
	s.closeLine()
	if s.process.HasExited() {
		s.process.LeaveBox()
	} else {
		s.process.Kill()
	}
}

// Failed implements [reactor.Failer]: a fault of ours costs no more than the session.
func (s *session) Failed(value any, stack []byte) {
	s.service.Log.Panic("process", value, stack)
	s.producing = false
	c, seq := s.leaveConn()
	s.forget()
	if c != nil {
		c.ReplyLater(framing.AppendError(nil, seq, "internal error"))
	}
}
