package workload

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop     *reactor.Loop
	Log      *log.Log
	Garbage  *sys.Garbage
	Server   *wire.Server
	Sessions *session.Service
	Specs    *Specs
	// End ends the machine.
	End func()
	// Changed is called when Running may answer differently.
	Changed func()
}

// Service starts the services of a machine, and starts them again.
type Service struct {
	Config
	units    []*unit
	timer    reactor.Timer // for the loop's first turn
	hostHere bool          // a host has said hello
	settled  bool          // a host has configured the machine
	stopping bool          // no service is started any more
	notify   notifier
	watchers []*watcher
}

// NewService registers the handlers. Services are started by the loop's first turn.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.Specs.Check(func(string, string) {})
	for _, spec := range s.Specs.list {
		if spec.exists() {
			s.add(spec)
		}
	}
	if len(s.units) > 0 {
		s.Loop.Start(&s.timer, 0, s)
	}
	s.Server.Handle(framing.TypeServices, s.list)
	s.Server.Handle(framing.TypeService, s.control)
	return s
}

// add adds a service, which is started once those are ready that it needs.
func (s *Service) add(spec *Spec) {
	u := &unit{
		room: s, spec: spec, label: "service " + spec.name, facts: "service." + spec.name + ".",
		place: session.Place{Service: s.Sessions}, state: waiting,
	}
	if spec.name == framing.WorkloadName {
		u.label, u.facts = spec.name, spec.name+"."
	}
	if spec.wrong != "" {
		u.state, u.failure = failed, spec.wrong
	}
	s.units = append(s.units, u)
}

// find returns the service with that name, or nil.
func (s *Service) find(name string) *unit {
	for _, u := range s.units {
		if u.spec.name == name {
			return u
		}
	}
	return nil
}

// HostHere tells that a host has said hello.
func (s *Service) HostHere() {
	if !s.hostHere {
		s.hostHere = true
		s.startWaiting()
	}
}

// Configure takes the services as the options now are. A process that runs is not changed, and
// options about its start have their effect at the next one. A service that has ended stays ended.
func (s *Service) Configure() {
	if s.stopping {
		return
	}
	s.Specs.Check(func(string, string) {})
	for _, spec := range s.Specs.list {
		switch u := s.find(spec.name); {
		case u == nil && spec.exists():
			s.add(spec)
		case u == nil || u.starts > 0:
		case spec.wrong != "" && u.state == waiting:
			u.failure = spec.wrong
			u.enter(failed)
		case spec.wrong == "" && u.state == failed:
			u.failure = ""
			u.enter(waiting)
		}
	}
	s.startWaiting()
}

// Configured tells that a host, which has said hello, has configured the machine.
func (s *Service) Configured() {
	s.hostHere, s.settled = true, true
	s.startWaiting()
}

// Expired implements [reactor.TimerHandler].
func (s *Service) Expired(*reactor.Timer) { s.startWaiting() }

// Failed implements [reactor.Failer].
func (s *Service) Failed(value any, stack []byte) { s.Log.Panic("services", value, stack) }

// startWaiting starts the services that wait for nothing any more.
func (s *Service) startWaiting() {
	for _, u := range s.units {
		if u.state == waiting && !s.stopping && u.waitsFor() == "" {
			u.start()
		}
	}
}

// changed tells hosts of a new state.
func (s *Service) changed() {
	for _, w := range s.watchers {
		w.due = true
		w.conn.Queue(w)
	}
}

// Stop stops the services, each before those that it was started after, and every later start. It
// reports whether a process has to end first, and how long all of them have.
func (s *Service) Stop() (grace time.Duration, runs bool) {
	s.stopping = true
	s.timer.Stop()
	for _, u := range s.units {
		switch {
		case u.running():
			grace += u.spec.grace + killGrace
			runs = true
		case u.state == ended, u.state == failed:
			u.timer.Stop()
		default:
			u.timer.Stop()
			u.enter(ended)
		}
	}
	s.stopNext()
	return grace, runs
}

// stopNext stops each service that no other one needs any more.
func (s *Service) stopNext() {
	for _, u := range s.units {
		if u.running() && !u.signalled && !s.isNeeded(u) {
			u.stop()
		}
	}
}

// Signal sends a signal to the process group of the workload, and reports whether it runs. It
// leaves other services alone, because the signal may end a program that does not expect it.
func (s *Service) Signal(sig unix.Signal) bool {
	u := s.find(framing.WorkloadName)
	if u == nil || !u.running() || u.pid == 0 {
		return false
	}
	u.process.Signal(sig)
	return true
}

// isNeeded reports whether a service runs that was started after u.
func (s *Service) isNeeded(u *unit) bool {
	for _, o := range s.units {
		if o.running() && !o.lost && has(o.spec.after, u.spec.name) {
			return true
		}
	}
	return false
}

// Running reports whether a process of a service runs that a kill could end.
func (s *Service) Running() bool {
	for _, u := range s.units {
		if u.running() && !u.lost {
			return true
		}
	}
	return false
}

// Kill kills all processes of services.
func (s *Service) Kill() {
	for _, u := range s.units {
		if u.running() && !u.lost {
			u.kill()
		}
	}
}

// Close releases what the service holds.
func (s *Service) Close() { s.notify.Close() }

// AddFacts adds what a host is told about the services.
func (s *Service) AddFacts(f *framing.Facts) {
	for _, u := range s.units {
		u.addFacts(f)
	}
}
