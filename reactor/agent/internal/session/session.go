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
	process    launch.Process
	service    *Service
	id         uint64
	conn       *wire.Conn // that has it; nil for none
	seq        uint32
	keepMS     uint32 // milliseconds; 0: it is killed with its connection
	keepTimer  reactor.Timer
	outputCap  uint64
	terminal   bool
	reportHeld bool // the host knows of outputs that are held
	slave      int  // the process's side of its terminal, held open until it has exited; 0 for none

	in   inlet
	out  [2]outlet
	turn int               // which output is next
	peak contain.PeakMeter // of its cgroup, since the start

	receipt    framing.Exited
	launching  bool // it is not known yet if it can be started
	startedDue bool // started is to be sent
	told       bool // exited was sent
	cancelled  bool
	forgotten  bool // it is in no list any more
	producing  bool // produce is at work
}

func (s *session) kept() bool       { return s.keepMS != 0 }
func (s *session) onTerminal() bool { return s.terminal }

// bind attaches the session to c as the channel seq.
func (s *session) bind(c *wire.Conn, seq uint32) {
	s.conn, s.seq = c, seq
	s.keepTimer.Stop()
	s.told = false
	c.OpenChannel(seq, s)
	s.in.bind()
	s.startedDue = true
}

// push has it send what it has to.
func (s *session) queue() {
	if s.conn != nil && !s.producing && s.hasFrame() {
		s.conn.Queue(s)
	}
}

// ready reports whether there is something to send.
func (s *session) hasFrame() bool {
	switch {
	case s.launching || s.told:
		return false
	case s.startedDue, s.in.hasReply(), s.out[0].hasFrame(), s.out[1].hasFrame():
		return true
	}
	return s.exitDue()
}

// ending reports whether exited is all that is left to send.
func (s *session) exitDue() bool {
	return s.process.Finished() && s.out[0].closeSent && s.out[1].closeSent
}

// Produce implements [wire.Producer].
func (s *session) Produce() (more bool) {
	s.producing = true
	defer func() { s.producing = false }()
	c := s.conn
	if c == nil || !s.hasFrame() {
		return false
	}
	switch {
	case s.startedDue:
		s.startedDue = false
		started := framing.Started{PID: uint32(s.process.PID()), Taken: s.in.taken, Credit: s.in.window}
		c.Reply(framing.AppendStarted(c.Space(framing.HeaderSize+16), s.seq, started))
	case s.in.closeDue:
		s.in.closeDue = false
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), s.seq, framing.StreamInput))
	case s.in.hasReply():
		n := s.in.ungranted
		s.in.ungranted = 0
		s.in.window += n
		c.Reply(framing.AppendCredit(c.Space(framing.HeaderSize+5), s.seq, framing.StreamInput, n))
	case s.exitDue():
		s.told = true
		c.Reply(framing.AppendExited(c.Space(exitedRoom), s.seq, &s.receipt))
		if !s.kept() {
			c.CloseChannel(s)
			s.close()
		}
	default:
		o := &s.out[s.turn]
		if !o.hasFrame() {
			o = &s.out[1-s.turn]
		}
		s.turn = 1 - s.turn
		o.produce()
	}
	return s.hasFrame()
}

// exitedRoom is enough for every exited.
const exitedRoom = framing.HeaderSize + 90 + wire.MaxText

// Input implements [wire.Sink]. A frame larger than the whole window is refused outright, so that its tail
// cannot use credit granted later.
func (s *session) Input(p *framing.Part) bool {
	if p.Size > inputWindow || !s.in.receive(p.Data) {
		return false
	}
	s.queue()
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
		o.addCredit(n)
		s.queue()
	}
}

// End implements [wire.Channel]. A terminal whose output is not wanted is hung up.
func (s *session) End(stream framing.Stream) {
	if o := s.outlet(stream); o == nil {
		s.in.endInput()
	} else if !o.closedByHost {
		o.closeByHost()
		if s.terminal && stream == framing.StreamOutput {
			s.in.close()
		}
	}
	s.queue()
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
		s.close()
		return
	}
	s.in.detach()
	s.startKeepTimer()
	s.service.Changed()
}

// waitForHost begins the time that it is kept without a connection.
func (s *session) startKeepTimer() {
	if s.keepMS != framing.KeepForEver {
		s.service.Loop.Start(&s.keepTimer, time.Duration(s.keepMS)*time.Millisecond, (*keepExpiry)(s))
	}
}

// keeper is a session as the handler of that time's end.
type keepExpiry session

func (k *keepExpiry) Expired(*reactor.Timer) {
	s := (*session)(k)
	s.close()
	s.service.Changed()
}

// Failed implements [reactor.Failer].
func (k *keepExpiry) Failed(value any, stack []byte) { (*session)(k).Failed(value, stack) }

// attach has the session go on as another channel, at the offsets that the host has.
func (s *session) attach(c *wire.Conn, seq uint32, a *framing.Attach) {
	old, oldSeq := s.detach()
	for i, x := range [...]struct {
		offset uint64
		credit uint32
	}{{a.Output, a.OutputCredit}, {a.Errors, a.ErrorsCredit}} {
		s.out[i].resumeAt(x.offset, x.credit)
	}
	s.bind(c, seq)
	// Only now, for it may be the same connection, and to tell it may be its end.
	if old != nil {
		old.ReplyLater(framing.AppendError(nil, oldSeq, "attached by another connection"))
	}
	s.queue()
}

// leaveConn takes it from its connection, if it has one, which is to be told why.
func (s *session) detach() (c *wire.Conn, seq uint32) {
	if c = s.conn; c != nil {
		c.CloseChannel(s)
		s.conn = nil
		s.in.detach()
	}
	return c, s.seq
}

// release is the host's word that it has the exited of a kept session.
func (s *session) release() {
	s.conn.CloseChannel(s)
	s.close()
}

// Gone implements [launch.Owner].
func (s *session) Exited() {
	s.closeSlave()
	if s.forgotten || s.process.Finished() {
		s.process.ReturnBox()
		return
	}
	s.out[0].checkEnd()
	s.out[1].checkEnd()
	s.checkEnd()
}

// Overdue implements [launch.Owner].
func (s *session) Overdue() {
	if !s.process.HasExited() {
		s.finish()
		return
	}
	s.out[0].drainBounded()
	s.out[1].drainBounded()
	s.checkEnd()
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
func (s *session) checkEnd() {
	if s.process.HasExited() && !s.process.Finished() && s.out[0].ended && s.out[1].ended {
		s.finish()
	}
}

// decide makes the receipt. From here on output is read and dropped.
func (s *session) finish() {
	s.process.Finish()
	s.makeReceipt()
	s.peak.Close()
	if s.process.HasExited() {
		s.process.ReturnBox()
	}
	s.in.close()
	s.out[0].finish()
	s.out[1].finish()
	if l := s.service.Log; l.Enabled(log.LevelDebug) {
		l.Debug("process ended", "pid", sys.Num(s.process.PID()), "code", sys.Num(s.receipt.Code))
	}
	s.queue()
	s.service.Changed()
}

// forget ends the session. What runs of it is killed.
func (s *session) close() {
	if s.forgotten {
		return
	}
	s.forgotten = true
	s.service.sessions = sys.Remove(s.service.sessions, s)
	s.conn = nil
	s.keepTimer.Stop()
	s.process.Finish()
	s.in.close()
	for i := range s.out {
		s.out[i].release(!s.process.HasExited() || s.launching) // a program that was not executed wrote nothing
	}
	s.peak.Close()
	s.closeSlave()
	if s.process.HasExited() {
		s.process.ReturnBox()
	} else {
		s.process.Kill()
	}
}

// Failed implements [reactor.Failer]: a fault of ours costs no more than the session.
func (s *session) Failed(value any, stack []byte) {
	s.service.Log.Panic("process", value, stack)
	s.producing = false
	c, seq := s.detach()
	s.close()
	if c != nil {
		c.ReplyLater(framing.AppendError(nil, seq, "internal error"))
	}
}
