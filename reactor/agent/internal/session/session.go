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

// session is one process that a start request started, from the fork until its exited is sent. A
// kept session lasts until the host releases it, or stays away for too long.
//
//	running ──exit──▶ exited ──outputs end, or are drained after PipeGrace──▶ finished ──▶ sent
//	   └──kill──▶ killed ──as above, or after KillGrace──▶ finished
//
// One connection at a time is bound to it. A kept session may have none for a while.
type session struct {
	process launch.Process
	service *Service
	id      uint64
	conn    *wire.Conn // bound to it, or nil
	seq     uint32     // of its channel on conn
	// keepMS is how long it is kept without a connection. At 0 it ends with its connection.
	keepMS     uint32
	keepTimer  reactor.Timer
	watcher    Watcher // of a session that no host has started, or nil
	place      *Place  // of such a session
	extra      Extra
	paused     bool   // no output is lost, because a host is about to attach
	ended      bool   // the watcher knows of the end
	awaited    bool   // AllReported waits for a host to get the end
	outputCap  uint64 // the most bytes of each output; 0: no cap
	terminal   bool
	reportHeld bool    // exited reports outputs that other processes hold open
	counted    bool    // its I/O is counted
	namespaces uintptr // the CLONE_NEW flags of those that are not the agent's
	slave      int     // the process's side of its terminal, open until the exit; 0 for none

	in   inlet
	out  [2]outlet
	turn int               // the output whose turn is next
	peak contain.PeakMeter // of the cgroup's memory, since the start

	state      sessionState
	startedDue bool // started is to be sent on this connection
	cancelled  bool // a host has killed it
	producing  bool // Produce is running, and queues the session itself
	loose      bool // without a host it does not wait for one; output may be lost
	looks      []*look
	receipt    framing.Exited
}

// sessionState is how much of a session its connection is told.
type sessionState uint8

const (
	// launching: it is not known yet whether the program can be executed. Nothing is sent.
	launching sessionState = iota
	// active: started, output, credit and at last exited are sent.
	active
	// reported: exited is sent. A kept session waits for its release, or for the next attach.
	reported
	// closed: the session is in no list, and what still runs of it is killed.
	closed
)

func (s *session) kept() bool       { return s.keepMS != 0 }
func (s *session) onTerminal() bool { return s.terminal }

// bind attaches the session to c as channel seq.
func (s *session) bind(c *wire.Conn, seq uint32) {
	s.conn, s.seq = c, seq
	s.keepTimer.Stop()
	s.paused = false
	if s.state == reported {
		s.state = active // the new connection has not got it
	}
	c.OpenChannel(seq, s)
	s.in.bind()
	s.startedDue = true
	s.updateInterest()
}

// updateInterest sets what the outputs are polled for.
func (s *session) updateInterest() {
	s.out[0].updateInterest()
	s.out[1].updateInterest()
}

// queue puts the session into the line of its connection, if it has something to send.
func (s *session) queue() {
	if s.conn != nil && !s.producing && s.hasFrame() {
		s.conn.Queue(s)
	}
}

// hasFrame reports whether Produce can send a frame now.
func (s *session) hasFrame() bool {
	switch {
	case s.state != active:
		return false
	case s.startedDue, s.in.hasReply(), s.out[0].hasFrame(), s.out[1].hasFrame():
		return true
	}
	return s.exitDue()
}

// exitDue reports whether exited is all that is left to send.
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
		pid := uint32(s.process.PID())
		started := framing.Started{PID: pid, Taken: s.in.taken, Credit: s.in.window}
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
		s.state = reported
		r := s.receipt
		r.HasIO = r.HasIO && c.Accounts
		c.Reply(framing.AppendExited(c.Space(exitedRoom), s.seq, &r))
		if !s.kept() || s.replaced() {
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

// exitedRoom is enough for any exited, in bytes.
const exitedRoom = framing.HeaderSize + 122 + wire.MaxText

// Input implements [wire.Sink]. It refuses a frame larger than the whole window outright, so that
// its tail cannot use credit granted later.
func (s *session) Input(p *framing.Part) bool {
	if p.Size > inputWindow || !s.in.receive(p.Data) {
		return false
	}
	s.queue()
	return true
}

// Pipe implements [wire.Taker].
func (s *session) Pipe(n int) (fd int) {
	if in := &s.in; n <= int(in.window) && !s.terminal && !in.ended && in.head == in.tail {
		return in.pipe.FD()
	}
	return -1
}

// Took implements [wire.Taker].
func (s *session) Took(n int) {
	s.in.window -= uint32(n)
	s.in.countTaken(n)
	s.queue()
}

// outlet returns the output with that number, or nil.
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

// End implements [wire.Channel]. Closing the output of a terminal hangs it up.
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
	if !s.kept() || s.replaced() {
		s.close()
		return
	}
	s.in.detach()
	s.paused = false
	s.startKeepTimer()
	s.updateInterest()
	s.service.Changed()
}

// startKeepTimer starts the time for which the session is kept without a connection.
func (s *session) startKeepTimer() {
	if s.keepMS != framing.KeepForEver {
		keep := time.Duration(s.keepMS) * time.Millisecond
		s.service.Loop.Start(&s.keepTimer, keep, (*keepExpiry)(s))
	}
}

// keepExpiry is a session as the handler of keepTimer.
type keepExpiry session

func (k *keepExpiry) Expired(*reactor.Timer) {
	s := (*session)(k)
	if s.paused {
		s.paused = false
		s.startKeepTimer()
		s.updateInterest()
		return
	}
	s.close()
	s.service.Changed()
}

// Failed implements [reactor.Failer].
func (k *keepExpiry) Failed(value any, stack []byte) { (*session)(k).Failed(value, stack) }

// attach binds the session to c as channel seq. Output continues at the offsets in a, which are
// held.
func (s *session) attach(c *wire.Conn, seq uint32, a *framing.Attach) {
	old, oldSeq := s.detach()
	for i, x := range [...]struct {
		offset uint64
		credit uint32
	}{{a.Output, a.OutputCredit}, {a.Errors, a.ErrorsCredit}} {
		s.out[i].resumeAt(x.offset, x.credit)
	}
	s.bind(c, seq)
	// Last, because the reply may end the old connection, which may be c itself.
	if old != nil {
		old.ReplyLater(framing.AppendError(nil, oldSeq, "attached by another connection"))
	}
	s.queue()
}

// detach takes the session off its connection, which it returns with the seq of the channel.
func (s *session) detach() (c *wire.Conn, seq uint32) {
	if c = s.conn; c != nil {
		c.CloseChannel(s)
		s.conn = nil
		s.in.detach()
	}
	return c, s.seq
}

// release ends a kept session whose exited the host has received.
func (s *session) release() {
	s.conn.CloseChannel(s)
	s.close()
}

// Exited implements [launch.Owner].
func (s *session) Exited() {
	s.closeSlave()
	s.tellEnd()
	if s.process.Finished() {
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

// checkEnd finishes the session once the process has exited and both outputs have ended.
func (s *session) checkEnd() {
	if s.process.HasExited() && !s.process.Finished() && s.out[0].ended && s.out[1].ended {
		s.finish()
	}
}

// finish makes the receipt. Later output is read and dropped.
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

// close ends the session, and kills the process if it still runs.
func (s *session) close() {
	if s.state == closed {
		return
	}
	// After an exit the pipes are read on, so that descendants do not block on them.
	closePipes := s.state == launching || !s.process.HasExited()
	s.state = closed
	s.endLooks()
	s.service.sessions = sys.Remove(s.service.sessions, s)
	if s.place != nil && s.place.before == s {
		s.place.before = nil
	}
	s.conn = nil
	s.keepTimer.Stop()
	s.process.Finish()
	s.in.close()
	for i := range s.out {
		s.out[i].release(closePipes)
	}
	s.peak.Close()
	s.closeSlave()
	if s.process.HasExited() {
		s.process.ReturnBox()
	} else {
		s.process.Kill()
	}
}

// Failed implements [reactor.Failer]. A panic ends the session and nothing else.
func (s *session) Failed(value any, stack []byte) {
	s.service.Log.Panic("process", value, stack)
	s.producing = false
	c, seq := s.detach()
	s.close()
	if c != nil {
		c.ReplyLater(framing.AppendError(nil, seq, "internal error"))
	}
}
