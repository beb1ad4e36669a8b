package workload

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
)

const (
	// minDelay and maxDelay limit the time between an end and the next start. It doubles from start
	// to start, until a run has lasted steadyAfter.
	minDelay    = 100 * time.Millisecond
	maxDelay    = 10 * time.Second
	steadyAfter = 10 * time.Second
	// maxError limits the reason of a failed start among the facts and in the log, in bytes.
	maxError = 160
)

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop     *reactor.Loop
	Log      *log.Log
	Sessions *session.Service
	Spec     Spec
	// End ends the machine.
	End func()
}

// state is where the workload stands.
type state uint8

const (
	none       state = iota // there is no workload
	waiting                 // for a host, or for the loop's first turn
	running                 // its process has been forked
	backingOff              // the timer starts it again
	ended                   // it is not started again
)

// String returns the state as a fact has it.
func (s state) String() string {
	switch s {
	case waiting:
		return "waiting"
	case running:
		return "running"
	case backingOff:
		return "backing-off"
	}
	return "ended"
}

// Service starts the workload, and starts it again.
type Service struct {
	Config
	state    state
	stopping bool // it is not started any more
	process  *session.Alone
	req      *framing.Start
	timer    reactor.Timer // until the next start, or until the machine ends
	delay    time.Duration // before the last start
	tries    uint32        // starts in a row
	starts   uint32        // all starts
	pid      int           // while it runs, else 0
	code     int32         // of the last end
	coded    bool          // there was an end
	failure  string        // why the last start failed
}

// NewService returns a service. The workload is started by the loop, or by HostHere if it waits for
// a host.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	if s.Spec.words.Len() == 0 {
		return s
	}
	if s.Spec.signal == 0 {
		s.Spec.signal, s.Spec.grace = unix.SIGTERM, defaultGrace
	}
	s.state, s.req = waiting, s.Spec.start()
	if !s.Spec.waits {
		s.Loop.Start(&s.timer, 0, s)
	}
	return s
}

// HostHere tells that a host has said hello.
func (s *Service) HostHere() {
	if s.state == waiting && s.Spec.waits {
		s.start()
	}
}

// Expired implements [reactor.TimerHandler].
func (s *Service) Expired(*reactor.Timer) {
	if s.state == ended {
		s.End()
		return
	}
	s.start()
}

// Failed implements [reactor.Failer].
func (s *Service) Failed(value any, stack []byte) { s.Log.Panic("workload", value, stack) }

func (s *Service) start() {
	s.state = running
	s.starts++
	s.tries++
	var failure *launch.Failure
	if s.process, failure = s.Sessions.StartAlone(s.req, s); failure != nil {
		s.NotStarted(failure)
	}
}

// Started implements [session.Watcher].
func (s *Service) Started(pid int) {
	s.pid, s.failure = pid, ""
	s.Log.Info("workload started", "pid", sys.Num(pid), "restarts", sys.Num(s.starts-1))
}

// NotStarted implements [session.Watcher].
func (s *Service) NotStarted(f *launch.Failure) {
	s.failure = sys.Clip(launch.Reason(f.Err), maxError)
	s.next(f.Code(), 0, "workload not started", "error", s.failure)
}

// Output implements [session.Watcher].
func (s *Service) Output(b []byte) {
	if s.Spec.console {
		s.Log.Copy(b)
	}
}

// Ended implements [session.Watcher].
func (s *Service) Ended(e *session.End) (killLeft bool) {
	var key, value string
	switch {
	case e.Killed > 0 && e.Signal == unix.SIGKILL:
		key, value = "reason", "out of memory"
	case e.Signal != 0:
		key, value = "signal", sys.SignalText(e.Signal)
	}
	s.next(e.Code, e.Elapsed, "workload ended", key, value)
	return s.state == backingOff
}

// next decides what follows an end after a run of that time. key and value say more about the end
// in the log, unless key is empty.
func (s *Service) next(code int32, ran time.Duration, message, key, value string) {
	s.pid, s.code, s.coded = 0, code, true
	if ran >= steadyAfter {
		s.tries, s.delay = 0, 0
	}
	again := s.Spec.restart == always || s.Spec.restart == onFailure && code != 0
	tried := again && s.Spec.tries > 0 && s.tries >= s.Spec.tries
	var line pairs
	line.add("code", sys.Num(code))
	if key != "" {
		line.add(key, value)
	}
	switch {
	case s.stopping:
		s.state = ended
	case again && !tried:
		s.state = backingOff
		s.delay = min(max(2*s.delay, minDelay), maxDelay)
		s.Loop.Start(&s.timer, s.delay, s)
		tenths := s.delay.Milliseconds() / 100
		line.add("restart", "in "+sys.Num(tenths/10)+"."+sys.Num(tenths%10)+"s")
	default:
		s.state = ended
		line.add("restart", "no")
		if tried {
			line.add("tries", sys.Num(s.tries))
		}
		if s.Spec.ends {
			line.add("end", "machine")
			if s.process != nil {
				s.process.Await()
			}
			s.Loop.Start(&s.timer, 0, s)
		}
	}
	if code == 0 {
		s.Log.Info(message, line...)
	} else {
		s.Log.Warn(message, line...)
	}
}

// pairs has the keys and values of a line of the log.
type pairs []string

func (p *pairs) add(key, value string) { *p = append(*p, key, value) }

// Stop stops the workload, and every later start. It reports whether a process has to end first,
// and how long that has.
func (s *Service) Stop() (grace time.Duration, runs bool) {
	s.stopping = true
	s.timer.Stop()
	if s.state != running {
		if s.state != none {
			s.state = ended
		}
		return 0, false
	}
	s.Log.Info("workload stopping", "signal", sys.SignalText(s.Spec.signal))
	s.process.Signal(s.Spec.signal)
	return s.Spec.grace, true
}

// Running reports whether its process runs.
func (s *Service) Running() bool { return s.state == running }

// Kill kills its process and all descendants.
func (s *Service) Kill() {
	if s.state == running {
		s.process.Kill()
	}
}

// AddFacts adds what a host is told about the workload.
func (s *Service) AddFacts(f *framing.Facts) {
	if s.state == none {
		return
	}
	f.Add("workload.state", s.state.String())
	if s.pid != 0 {
		f.Add("workload.pid", sys.Num(s.pid))
	}
	f.Add("workload.restarts", sys.Num(max(s.starts, 1)-1))
	if s.coded {
		f.Add("workload.code", sys.Num(s.code))
	}
	if s.failure != "" {
		f.Add("workload.error", s.failure)
	}
}
