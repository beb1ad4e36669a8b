package session

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
)

const (
	// placeSessions is the most sessions of a Place that hold buffers: the one that runs, and the
	// one before it.
	placeSessions = 2
	// attachGrace is how long no output is lost after a host was told from where it is held.
	attachGrace = time.Second
)

// Watcher is told about a process that no host has started.
type Watcher interface {
	// Started is called when the program has been executed.
	Started(pid int)
	// NotStarted is called instead of Ended if the program was not executed.
	NotStarted(f *launch.Failure)
	// Output is called with output as it is read. It does not keep b.
	Output(b []byte)
	// Ended is called at the exit. A host may still have to get output. If it reports true, the
	// processes that are left are killed.
	Ended(e *End) (killLeft bool)
}

// End is how a process of a Place ended.
type End struct {
	Code      int32
	Signal    unix.Signal // that ended it, or 0
	Killed    uint32      // processes killed for want of memory
	Cancelled bool        // a host has killed it
	Elapsed   time.Duration
}

// Place is where processes with one id run, one after the other, without a host.
type Place struct {
	// Service is the service that the processes belong to.
	Service *Service
	// The last session, and the one before it if its host has not got all of it.
	last, before *session
}

// Extra is what a start message cannot ask for.
type Extra struct {
	// Console makes the machine's console the terminal of the process. It has no other streams.
	Console bool
	// Limits are files of the cgroup, and what is written to them.
	Limits [][2]string
}

// Start starts the process of req.ID without a connection, and keeps it for ever. Until a host
// attaches, its outputs are read at once, and the oldest bytes beyond the rings are lost.
//
// A second call replaces a process that has exited, once the new program has been executed. The
// outputs go on where those of the first have ended, so that a host that attaches gets both. A host
// that is attached still gets all of the first.
func (p *Place) Start(
	req *framing.Start, extra Extra, w Watcher,
) (*Alone, *launch.Failure) {
	svc := p.Service
	svc.Garbage.Collect(startGarbage)
	s := &session{
		service: svc, id: req.ID, keepMS: framing.KeepForEver, terminal: req.Terminal,
		place: p, extra: extra, watcher: w, loose: true,
	}
	s.process.Kind = framing.KindStart
	if failure := s.open(req); failure != nil {
		return nil, failure
	}
	if p.last == nil || p.last.state == closed {
		s.takeOver()
	}
	return (*Alone)(s), nil
}

// takeOver has the session take the place of the last one.
func (s *session) takeOver() {
	old := s.place.last
	if old == s {
		return
	}
	s.place.last = s
	if old != nil {
		for i := range s.out {
			s.out[i].inherit(&old.out[i], old.conn != nil)
		}
		old.replace()
	}
}

// inherit has the outlet go on where old has ended. It takes what old holds, unless a host is to
// get that from old.
func (o *outlet) inherit(old *outlet, attached bool) {
	o.total, o.dropped, o.lost = old.total, old.dropped, old.lost
	if attached && !old.ended && old.pipe.Open() {
		rest, _ := unix.IoctlGetInt(old.pipe.FD(), unix.TIOCINQ) // its host still gets that
		o.total += uint64(rest)
	}
	o.sent, o.acked = o.received(), o.received()
	if attached || old.ring == nil {
		return
	}
	o.ring, o.sent, o.acked = old.ring, old.sent, old.acked
	old.ring, old.sent, old.acked = nil, old.received(), old.received()
}

// replace ends the session, or lets its host get the rest of it.
func (s *session) replace() {
	if before := s.place.before; before != nil {
		c, seq := before.detach()
		before.close()
		if c != nil {
			c.ReplyLater(framing.AppendError(nil, seq, "process was started again"))
		}
	}
	switch {
	case s.state == closed:
	case s.conn == nil:
		s.close()
	case s.state == reported:
		s.release()
	default:
		s.place.before = s
		s.id = 0 // no attach finds it
	}
}

// replaced reports whether another session has taken its place.
func (s *session) replaced() bool { return s.watcher != nil && s.place.last != s }

// unheard reports whether output is read though there is no host for it.
func (s *session) unheard() bool { return s.loose && s.conn == nil && !s.paused }

// pause keeps the outputs of a session as they are for attachGrace. A host was told from where they
// are held, and asks for that next.
func (s *session) pause() {
	if s.loose && s.conn == nil {
		s.paused = true
		s.service.Loop.Start(&s.keepTimer, attachGrace, (*keepExpiry)(s))
		s.updateInterest()
	}
}

// tellEnd tells the watcher of the exit.
func (s *session) tellEnd() {
	if s.watcher == nil || s.ended {
		return
	}
	s.ended = true
	e := End{
		Code: s.process.ExitCode(), Killed: s.process.OOMKills(), Cancelled: s.cancelled,
		Elapsed: s.process.Elapsed(),
	}
	if status := s.process.Status(); status.Signaled() {
		e.Signal = status.Signal()
	}
	if s.watcher.Ended(&e) && s.process.Box != nil {
		s.process.Kill()
	}
}

// Alone is a process that a Place has started.
type Alone session

// PID returns the process ID.
func (a *Alone) PID() int { return a.process.PID() }

// Has reports whether a process is one of its descendants, or the process itself.
func (a *Alone) Has(pid int) bool { return !a.process.HasExited() && a.process.Has(pid) }

// Spawn starts what req asks for as a child beside the process, in its cgroup and without streams.
func (a *Alone) Spawn(child *reactor.Child, req *framing.Start, h reactor.ChildHandler) error {
	svc := a.service
	svc.Garbage.Collect(startGarbage)
	spec, failure := svc.Command(req)
	if failure != nil {
		return failure.Err
	}
	spec.Tell = false
	spec.Files = [3]int{svc.Null, svc.Null, svc.Null}
	return a.process.SpawnInside(child, &spec, h)
}

// Signal sends a signal to the process group.
func (a *Alone) Signal(sig unix.Signal) {
	if !a.process.HasExited() {
		a.process.SignalGroup(sig)
	}
}

// Terminate sends a signal that is to end the process to its group. A stopped process is continued,
// because it handles no signal.
func (a *Alone) Terminate(sig unix.Signal) {
	a.Signal(sig)
	if sig != unix.SIGKILL {
		a.Signal(unix.SIGCONT)
	}
}

// Kill kills the process and all its descendants.
func (a *Alone) Kill() {
	if !a.process.HasExited() {
		a.process.Kill()
	}
}

// Await has AllReported wait for a host to attach and to get the end, if any may.
func (a *Alone) Await() { a.awaited = true }

// owesHost reports whether a host that is there is still to attach and get the end.
func (s *session) owesHost() bool {
	return s.awaited && s.conn == nil && s.state == active && s.service.Server.Host(nil) != nil
}
