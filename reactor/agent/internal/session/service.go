package session

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureProcesses | framing.FeatureTerminals | framing.FeatureManners

// holdBuffers is how many buffers a kept process may hold: its two outputs. Besides, every process may have
// input waiting.
const holdBuffers = 2

// startGarbage is what a started process leaves, in bytes, beside a few copies of its payload.
const startGarbage = 3 << 10

// Config is what a service is made of.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Table   *launch.Table
	Env     *launch.Env
	// Null is a descriptor of /dev/null, the stdin of processes that have none.
	Null int
	// Root reports that the agent is root, and may start processes as any user.
	Root bool
	// Kept is the most processes at a time that are kept when their connection is lost.
	Kept uint32
	// Changed is called when Told may have another answer.
	Changed func()
}

// Service serves the requests about processes: start, attach, signal, release and processes.
type Service struct {
	Config
	holds        *reactor.Pool // what waits for processes, and for hosts that are away
	inputBuffers int           // buffers of it that are for processes; the others are for hosts
	sessions     []*session    // those that a host may ask for
}

// NewService returns a service that has registered its handlers. The error is a *reactor.Error.
func NewService(cfg Config) (*Service, error) {
	s := &Service{Config: cfg}
	var err error
	if s.holds, err = reactor.NewPool(holdBuffers*int(cfg.Kept) + int(cfg.Table.Limit)); err != nil {
		return nil, err
	}
	s.Server.HandleParts(framing.TypeStart, s.startParts)
	s.Server.Handle(framing.TypeAttach, s.attach)
	s.Server.Handle(framing.TypeSignal, s.signal)
	s.Server.HandleEmpty(framing.TypeRelease, s.release)
	s.Server.HandleEmpty(framing.TypeProcesses, s.processes)
	return s, nil
}

// Told reports whether every process has ended, and the hosts that are there know of it.
func (s *Service) AllReported() bool {
	for _, p := range s.sessions {
		if !p.process.HasExited() || p.conn != nil && !p.told {
			return false
		}
	}
	return true
}

// Drop kills all processes.
func (s *Service) Drop() {
	for len(s.sessions) > 0 {
		s.sessions[0].close()
	}
}

// Close releases the buffers. It is called after Drop.
func (s *Service) Close() { s.holds.Close() }

// CountKept returns how many processes are kept.
func (s *Service) CountKept() (n int) {
	for _, p := range s.sessions {
		if p.kept() {
			n++
		}
	}
	return n
}

// session returns the session with that id, or nil.
func (s *Service) find(id uint64) *session {
	for _, p := range s.sessions {
		if p.id == id {
			return p
		}
	}
	return nil
}

// attach handles an attach.
func (s *Service) attach(c *wire.Conn, p *framing.Part) error {
	a, err := framing.ParseAttach(p.Data)
	if err != nil {
		return err
	}
	to := s.find(a.ID)
	switch {
	case to == nil:
		c.Done(p.Seq, 0, sys.NewError("attach", "process", unix.ESRCH))
	case !to.out[0].canResume(a.Output):
		c.Done(p.Seq, to.out[0].acked, &sys.WordedError{Errno: unix.EINVAL, Words: "attach process: offset of stdout is not held"})
	case !to.out[1].canResume(a.Errors):
		c.Done(p.Seq, to.out[1].acked, &sys.WordedError{Errno: unix.ERANGE, Words: "attach process: offset of stderr is not held"})
	case c.MayOpen(p.Seq):
		to.attach(c, p.Seq, &a)
	}
	return nil
}

// release handles a release. It is about a channel, and is not answered.
func (s *Service) release(c *wire.Conn, p *framing.Part) error {
	if to, ok := c.Channel(p.Seq).(*session); ok && to.told {
		to.release()
	}
	return nil
}

// signal handles a signal.
func (s *Service) signal(c *wire.Conn, p *framing.Part) error {
	r, err := framing.ParseSignal(p.Data)
	if err == nil {
		c.Done(p.Seq, 0, s.sendSignal(&r))
	}
	return err
}

// maxSignal is the highest signal there is.
const maxSignal = 64

// send sends a signal.
func (s *Service) sendSignal(r *framing.Signal) error {
	sig := unix.Signal(r.Signal)
	if r.Signal > maxSignal || r.Scope > framing.ScopeTree {
		return sys.NewError("kill", "process", unix.EINVAL)
	}
	p := s.target(r)
	if p == nil {
		return sys.NewError("kill", "process", unix.ESRCH)
	}
	switch r.Scope {
	case framing.ScopeGroup:
		p.Owner.SignalGroup(sig)
	case framing.ScopeProcess:
		p.Signal(sig)
	case framing.ScopeTree:
		if sig == unix.SIGKILL {
			p.Owner.Cancel()
		} else {
			p.SignalTree(sig)
		}
	}
	return nil
}

// target returns the running process that a signal names, or nil.
func (s *Service) target(r *framing.Signal) *launch.Process {
	if r.ID == 0 {
		return s.Table.Find(r.PID)
	}
	if p := s.find(r.ID); p != nil && !p.process.HasExited() {
		return &p.process
	}
	return nil
}

// mayStart returns why one more process may not be started, or nil.
func (s *Service) mayStart(req *framing.Start) error {
	switch {
	case s.Table.Full():
		return s.Table.ErrFull()
	case req.KeepMS != 0 && s.CountKept() >= int(s.Kept):
		return errors.New("too many kept processes (limit " + sys.Num(s.Kept) + ")")
	}
	return nil
}
