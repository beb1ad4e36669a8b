package workload

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
)

const (
	// minDelay and maxDelay limit the time between an end and the next start. It doubles from start
	// to start, until a run has lasted steadyAfter.
	minDelay    = 100 * time.Millisecond
	maxDelay    = 10 * time.Second
	steadyAfter = 10 * time.Second
	// killGrace is how long a service that is killed has to end.
	killGrace = time.Second
	// maxError limits the reason of a failed start and a status among the facts, in bytes.
	maxError = 160
)

// state is where a service stands.
type state uint8

const (
	waiting    state = iota // for a host, for other services, or for the loop's first turn
	starting                // its process has been forked, and it is not ready yet
	ready                   // it runs and is ready
	stopping                // it runs, and got a signal or says that it ends
	backingOff              // the timer starts it again
	ended                   // it is not started again, and has ended well or was stopped
	failed                  // it is not started again, and has failed
)

var stateNames = [...]string{
	"waiting", "starting", "ready", "stopping", "backing-off", "ended", "failed",
}

// unit is one service of a machine.
type unit struct {
	room      *Service
	spec      *Spec
	label     string // in the log
	facts     string // the beginning of the names of its facts
	place     session.Place
	process   *session.Alone
	state     state
	satisfied bool // services after it may start
	signalled bool // this run got the signal that ends it
	killed    bool // this run was killed, because it survived the signal
	lost      bool // it survives even that, and is not waited for
	missed    bool // this run has missed the watchdog
	held      bool // a host has stopped it
	again     bool // a host wants it to be started again at its end

	timer    reactor.Timer // until the state's next step
	watchdog reactor.Timer // until the process has missed it
	period   time.Duration // of the watchdog
	probe    reactor.Child
	pause    time.Duration // before the last look
	delay    time.Duration // before the last start
	tries    uint32        // starts in a row
	starts   uint32        // all starts
	pid      int           // while it runs, else 0
	code     int32         // of the last end
	coded    bool          // there was an end
	failure  string        // why the last start failed
	status   string        // what the process says of itself
}

// running reports whether its process has been forked and has not ended.
func (u *unit) running() bool {
	return u.state == starting || u.state == ready || u.state == stopping
}

// enter changes the state, and tells hosts.
func (u *unit) enter(s state) {
	u.state = s
	u.room.changed()
}

// waitsFor returns what keeps it from being started: host, or the name of a service. It returns ""
// if nothing does.
func (u *unit) waitsFor() string {
	if u.spec.waits == waitHost && !u.room.hostHere || u.spec.waits == waitConfigure && !u.room.settled {
		return "host"
	}
	for _, name := range u.spec.after {
		if o := u.room.find(name); o == nil || !o.satisfied {
			return name
		}
	}
	return ""
}

// start starts the process.
func (u *unit) start() {
	u.timer.Stop()
	u.starts++
	u.tries++
	u.signalled, u.killed, u.lost, u.missed, u.again = false, false, false, false, false
	u.process, u.status, u.pause, u.period = nil, "", 0, u.spec.watchdog
	u.enter(starting)
	extra := session.Extra{Console: u.spec.terminal == theConsole, Limits: u.spec.boxLimits()}
	req := u.request()
	failure := u.spec.confined(req)
	if failure == nil {
		u.process, failure = u.place.Start(req, extra, u)
	}
	if failure != nil {
		u.NotStarted(failure)
	}
}

// request returns the request that starts the process.
func (u *unit) request() *framing.Start {
	req := u.spec.start()
	if u.spec.ready == readyNotify || u.spec.watchdog > 0 {
		req.Env.Add([]byte("NOTIFY_SOCKET"), []byte(u.room.notify.open(u.room)))
	}
	if u.spec.watchdog > 0 {
		micros := sys.Num(u.spec.watchdog.Microseconds())
		req.Env.Add([]byte("WATCHDOG_USEC"), []byte(micros))
	}
	return req
}

// Expired implements [reactor.TimerHandler].
func (u *unit) Expired(t *reactor.Timer) {
	switch {
	case t == &u.watchdog:
		u.miss()
	case u.state == starting:
		u.look()
	case u.state == backingOff:
		u.start()
	case u.state == stopping && !u.killed:
		u.kill()
	case u.state == stopping:
		u.lost = true
		u.room.stopNextAfter()
	default:
		u.room.End()
	}
}

// Failed implements [reactor.Failer].
func (u *unit) Failed(value any, stack []byte) { u.room.Failed(value, stack) }

// Started implements [session.Watcher].
func (u *unit) Started(pid int) {
	if u.pid != 0 {
		return
	}
	u.pid, u.failure = pid, ""
	u.room.Log.Info(u.label+" started", "pid", sys.Num(pid), "restarts", sys.Num(u.starts-1))
	if u.spec.ready != readyNotify {
		u.feed()
	}
	switch {
	case u.state != starting:
	case u.spec.ready == readyStart:
		u.becomeReady()
	case u.spec.ready == readyPort, u.spec.ready == readyProbe:
		u.look()
	}
}

// becomeReady lets the services after it start.
func (u *unit) becomeReady() {
	u.timer.Stop()
	if u.spec.ready != readyStart {
		u.room.Log.Info(u.label + " ready")
	}
	u.enter(ready)
	u.satisfy()
}

// satisfy lets the services after it start.
func (u *unit) satisfy() {
	u.satisfied = true
	u.room.startWaiting()
}

// feed starts the watchdog's time again.
func (u *unit) feed() {
	if u.period > 0 && u.running() && !u.signalled {
		u.room.Loop.Start(&u.watchdog, u.period, u)
	}
}

// miss ends a service that has missed its watchdog.
func (u *unit) miss() {
	u.room.Log.Warn(u.label + " missed its watchdog")
	u.missed = true
	u.signal(unix.SIGABRT)
}

// stop sends the signal that ends the service. After its grace it is killed.
func (u *unit) stop() {
	u.room.Log.Info(u.label+" stopping", "signal", sys.SignalText(u.spec.signal))
	u.signal(u.spec.signal)
}

// signal sends a signal that is to end the service.
func (u *unit) signal(sig unix.Signal) {
	u.signalled = true
	u.watchdog.Stop()
	u.endProbe()
	u.room.Loop.Start(&u.timer, u.spec.grace, u)
	u.process.Terminate(sig)
	u.enter(stopping)
}

// kill kills the process and all its descendants.
func (u *unit) kill() {
	u.room.Log.Warn("killing the " + u.label + ", it survived its signal")
	u.killed, u.signalled = true, true
	u.room.Loop.Start(&u.timer, killGrace, u)
	u.process.Kill()
	u.enter(stopping)
}

// endProbe ends a probe that still runs.
func (u *unit) endProbe() {
	if u.probe.Running() {
		u.probe.SignalGroup(unix.SIGKILL)
	}
}

// NotStarted implements [session.Watcher].
func (u *unit) NotStarted(f *launch.Failure) {
	u.failure = sys.Clip(launch.Reason(f.Err), maxError)
	u.next(f.Code(), 0, u.label+" not started", "error", u.failure)
}

// Output implements [session.Watcher].
func (u *unit) Output(b []byte) {
	if u.spec.console {
		u.room.Log.Copy(b)
	}
}

// Ended implements [session.Watcher].
func (u *unit) Ended(e *session.End) (killLeft bool) {
	var key, value string
	switch {
	case e.Killed > 0 && e.Signal == unix.SIGKILL:
		key, value = "reason", "out of memory"
	case e.Signal != 0:
		key, value = "signal", sys.SignalText(e.Signal)
	}
	u.next(e.Code, e.Elapsed, u.label+" ended", key, value)
	return u.state == backingOff || u.held
}

// next decides what follows an end after a run of that time. key and value say more about the end
// in the log, unless key is empty.
func (u *unit) next(code int32, ran time.Duration, message, key, value string) {
	u.pid, u.code, u.coded, u.status = 0, code, true, ""
	u.timer.Stop()
	u.watchdog.Stop()
	u.endProbe()
	if ran >= steadyAfter {
		u.tries, u.delay = 0, 0
	}
	bad := code != 0 || u.missed
	again := u.spec.restart == always || u.spec.restart == onFailure && bad
	tried := again && u.spec.tries > 0 && u.tries >= u.spec.tries
	var line pairs
	line.add("code", sys.Num(code))
	if key != "" {
		line.add(key, value)
	}
	to := ended
	switch {
	case u.room.stopping:
	case u.again:
		to = backingOff
		u.tries, u.delay = 0, 0
		u.room.Loop.Start(&u.timer, 0, u)
		line.add("restart", "now")
	case u.held:
		line.add("restart", "no")
	case again && !tried:
		to = backingOff
		u.delay = min(max(2*u.delay, minDelay), maxDelay)
		u.room.Loop.Start(&u.timer, u.delay, u)
		tenths := u.delay.Milliseconds() / 100
		line.add("restart", "in "+sys.Num(tenths/10)+"."+sys.Num(tenths%10)+"s")
	default:
		if bad {
			to = failed
		}
		line.add("restart", "no")
		if tried {
			line.add("tries", sys.Num(u.tries))
		}
		if u.spec.ends {
			line.add("end", "machine")
			if u.process != nil {
				u.process.Await()
			}
			u.room.Loop.Start(&u.timer, 0, u)
		}
	}
	if code == 0 {
		u.room.Log.Info(message, line...)
	} else {
		u.room.Log.Warn(message, line...)
	}
	u.enter(to)
	if !bad && !u.held && !u.room.stopping && (to == ended || u.spec.ready == readyEnd) {
		u.satisfy()
	}
	u.room.stopNextAfter()
}

// stopNextAfter goes on with the way down, if it has begun.
func (s *Service) stopNextAfter() {
	if s.stopping {
		s.stopNext()
		s.Changed()
	}
}

// pairs has the keys and values of a line of the log.
type pairs []string

func (p *pairs) add(key, value string) { *p = append(*p, key, value) }

// addFacts adds what a host is told about the service.
func (u *unit) addFacts(f *framing.Facts) {
	f.Add(u.facts+"state", stateNames[u.state])
	if u.state == waiting {
		if name := u.waitsFor(); name != "" {
			f.Add(u.facts+"waits", name)
		}
	}
	if u.pid != 0 {
		f.Add(u.facts+"pid", sys.Num(u.pid))
	}
	f.Add(u.facts+"restarts", sys.Num(max(u.starts, 1)-1))
	if u.coded {
		f.Add(u.facts+"code", sys.Num(u.code))
	}
	if u.failure != "" {
		f.Add(u.facts+"error", u.failure)
	}
	if u.status != "" {
		f.Add(u.facts+"status", u.status)
	}
}
