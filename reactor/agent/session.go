package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// session is one start, from the fork to the moment when its exited has gone out, and for one that is kept, when the host has released it
// or has stayed away for too long.
//
//	launching ──▶ running ──exit──▶ exited ──outputs at their end, or what was in them pipeGrace later──▶ decided ──▶ exited is sent
//	                  └──kill──▶ killed ──as above, or killGrace──▶ decided
//
// All the while a connection has it, or for one that is kept none.
type session struct {
	process
	id       uint64
	conn     *conn // that has it; nil for none
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

// session is the one with that id, or nil.
func (a *Agent) session(id uint64) *session {
	for _, s := range a.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// have gives the session to a connection, as the channel seq.
func (s *session) have(c *conn, seq uint32) {
	s.conn, s.seq = c, seq
	s.keepTime.Stop()
	s.told = false
	c.openChannel(seq, s)
	s.in.resume()
	s.greeting = true
}

// push has it send what it has to.
func (s *session) push() {
	if s.conn != nil && !s.producing && s.ready() {
		s.conn.queue(s)
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
func (s *session) ending() bool { return s.decided && s.out[0].closed && s.out[1].closed }

// produce implements [producer].
func (s *session) produce() (more bool) {
	s.producing = true
	defer func() { s.producing = false }()
	c := s.conn
	if c == nil || !s.ready() {
		return false
	}
	switch {
	case s.greeting:
		s.greeting = false
		started := framing.Started{PID: uint32(s.pid), Taken: s.in.taken, Credit: s.in.window}
		c.reply(framing.AppendStarted(c.stream.Space(framing.HeaderSize+16), s.seq, started))
	case s.in.broken:
		s.in.broken = false
		c.reply(framing.AppendClose(c.stream.Space(framing.HeaderSize+1), s.seq, framing.StreamInput))
	case s.in.pending():
		n := s.in.given
		s.in.given = 0
		s.in.window += n
		c.reply(framing.AppendCredit(c.stream.Space(framing.HeaderSize+5), s.seq, framing.StreamInput, n))
	case s.ending():
		s.told = true
		c.reply(framing.AppendExited(c.stream.Space(exitedRoom), s.seq, &s.receipt))
		if !s.kept() {
			c.closeChannel(s)
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
const exitedRoom = framing.HeaderSize + 90 + maxText

// input implements [channel]. Of a frame that is longer than any credit not a part is taken: what is granted for one it must not use for the next.
func (s *session) input(b []byte) bool {
	if s.conn.part.Size > inputWindow || !s.in.put(b) {
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

// credit implements [channel].
func (s *session) credit(stream framing.Stream, n uint32) {
	if o := s.outlet(stream); o != nil {
		o.grant(n)
		s.push()
	}
}

// end implements [channel]. A terminal whose output nobody wants is hung up.
func (s *session) end(stream framing.Stream) {
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

// resize implements [channel].
func (s *session) resize(rows, columns uint16) {
	if s.terminal && s.out[0].pipe.Open() {
		launch.ResizeTerminal(s.out[0].pipe.FD(), rows, columns)
	}
}

// lost implements [channel].
func (s *session) lost() {
	s.conn = nil
	if !s.kept() {
		s.forget()
		return
	}
	s.in.lost()
	s.waitForHost()
	s.agent.stepDown()
}

// waitForHost begins the time that it is kept without a connection.
func (s *session) waitForHost() {
	if s.keep != framing.KeepForEver {
		s.agent.loop.Start(&s.keepTime, time.Duration(s.keep)*time.Millisecond, (*keeper)(s))
	}
}

// keeper is a session as the handler of that time's end.
type keeper session

func (k *keeper) Expired(*reactor.Timer) {
	s := (*session)(k)
	s.forget()
	s.agent.stepDown()
}

// Failed implements [reactor.Failer].
func (k *keeper) Failed(value any, stack []byte) { (*session)(k).Failed(value, stack) }

// attach has the session go on as another channel, at the offsets that the host has.
func (s *session) attach(c *conn, seq uint32, a *framing.Attach) {
	old, oldSeq := s.leaveConn()
	for i, x := range [...]struct {
		offset uint64
		credit uint32
	}{{a.Output, a.OutputCredit}, {a.Errors, a.ErrorsCredit}} {
		s.out[i].resume(x.offset, x.credit)
	}
	s.have(c, seq)
	// Only now, for it may be the same connection, and to tell it may be its end.
	if old != nil {
		old.replyLater(framing.AppendError(nil, oldSeq, "attached by another connection"))
	}
	s.push()
}

// leaveConn takes it from its connection, if it has one, which is to be told why.
func (s *session) leaveConn() (c *conn, seq uint32) {
	if c = s.conn; c != nil {
		c.closeChannel(s)
		s.conn = nil
		s.in.lost()
	}
	return c, s.seq
}

// release is the host's word that it has the exited of a kept session.
func (s *session) release() {
	s.conn.closeChannel(s)
	s.forget()
}

// gone implements [processOwner].
func (s *session) gone() {
	s.closeLine()
	if s.forgotten || s.decided {
		s.leaveCgroup()
		return
	}
	s.out[0].look()
	s.out[1].look()
	s.settle()
}

// overdue implements [processOwner].
func (s *session) overdue() {
	if !s.exited {
		s.decide()
		return
	}
	s.out[0].hurry()
	s.out[1].hurry()
	s.settle()
}

// signalGroup implements [processOwner].
func (s *session) signalGroup(sig unix.Signal) {
	if s.terminal && s.out[0].pipe.Open() {
		if group := launch.Foreground(s.out[0].pipe.FD()); group > 0 {
			unix.Kill(-group, sig)
			return
		}
	}
	s.process.signalGroup(sig)
}

// cancel implements [processOwner].
func (s *session) cancel() {
	s.cancelled = true
	s.patience = 0
	s.deadline.Stop()
	if !s.decided {
		s.agent.loop.Start(&s.grace, killGrace, &s.process)
	}
	s.kill()
}

// settle looks whether there is nothing more to wait for.
func (s *session) settle() {
	if s.exited && !s.decided && s.out[0].ended && s.out[1].ended {
		s.decide()
	}
}

// decide makes the receipt. From here on output is read and dropped.
func (s *session) decide() {
	s.decided = true
	s.grace.Stop()
	s.deadline.Stop()
	s.makeReceipt()
	s.peak.Close()
	if s.exited {
		s.leaveCgroup()
	}
	s.in.close()
	s.out[0].finish()
	s.out[1].finish()
	if a := s.agent; a.log.Enabled(LevelDebug) {
		a.log.Debug("process ended", "pid", sys.Num(s.pid), "code", sys.Num(s.receipt.Code))
	}
	s.push()
	s.agent.stepDown()
}

// forget takes it out of the agent's lists. What runs of it is killed.
func (s *session) forget() {
	if s.forgotten {
		return
	}
	s.forgotten = true
	a := s.agent
	a.sessions = remove(a.sessions, s)
	s.conn = nil
	s.keepTime.Stop()
	s.grace.Stop()
	s.deadline.Stop()
	s.decided = true
	s.in.close()
	for i := range s.out {
		s.out[i].release(!s.exited || s.launching) // a program that was not executed wrote nothing
	}
	s.peak.Close()
	s.closeLine()
	if s.exited {
		s.leaveCgroup()
	} else {
		s.kill()
	}
}

// Failed implements [reactor.Failer]: a fault of ours costs no more than the session.
func (s *session) Failed(value any, stack []byte) {
	s.agent.log.Panic("process", value, stack)
	s.producing = false
	c, seq := s.leaveConn()
	s.forget()
	if c != nil {
		c.replyLater(framing.AppendError(nil, seq, "internal error"))
	}
}
