package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
)

// downStep is how far the end has come. An agent beside others waits for its own commands, which have the signal, and
// for their results to go out, for half a second. An init ends everything: TERM, five seconds, KILL, one second; when no process is
// left, results have half a second to go out. The loop runs on meanwhile: children are reaped, and hosts are answered.
type downStep uint8

const (
	downNot    downStep = iota
	downAsked           // processes were asked to end
	downKilled          // they were killed
	downEmpty           // none is left
	downLast            // no host is left either; what was started is being killed
)

// end begins the end. Once begun it goes on by itself.
func (a *Agent) end() {
	if a.down != downNot {
		return
	}
	a.down = downAsked
	if !a.cfg.Init {
		a.loop.Start(&a.downTime, stopGrace, (*downTimer)(a))
		return
	}
	unix.Kill(-1, unix.SIGTERM)
	unix.Kill(-1, unix.SIGCONT) // one that is stopped would not hear of it
	a.loop.Start(&a.downTime, downGrace, (*downTimer)(a))
}

// stepDown looks whether what is waited for has come.
func (a *Agent) stepDown() {
	switch a.down {
	case downNot:
		return
	case downLast:
		if !a.sessionsRun() {
			a.Stop()
		}
		return
	}
	if a.cfg.Init && a.down != downEmpty {
		if !a.loop.Childless() {
			return
		}
		a.down = downEmpty
		a.loop.Start(&a.downTime, stopGrace, (*downTimer)(a))
	}
	if len(a.commands) == 0 && a.told() && len(a.commits) == 0 && a.idle() {
		a.Stop()
	}
}

// told reports whether every session has ended, and the hosts know of it that are there.
func (a *Agent) told() bool {
	for _, s := range a.sessions {
		if !s.exited || s.conn != nil && !s.told {
			return false
		}
	}
	return true
}

// idle reports whether no host has anything more to take.
func (a *Agent) idle() bool {
	for _, c := range a.conns {
		if !c.stream.Idle() {
			return false
		}
	}
	return true
}

// downTimer is an agent as the handler of the end's timer.
type downTimer Agent

func (d *downTimer) Expired(*reactor.Timer) {
	a := (*Agent)(d)
	if !a.cfg.Init || a.down != downAsked {
		a.Stop()
		return
	}
	a.log.Warn("processes left after SIGTERM are killed")
	a.down = downKilled
	unix.Kill(-1, unix.SIGKILL)
	a.loop.Start(&a.downTime, killedGrace, d)
}
