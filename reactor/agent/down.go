package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// downStep is how far the end has come. An agent beside others sends its own commands TERM, and
// waits for them and for their results to go out, for half a second. An init ends everything: TERM,
// five seconds, KILL, one second; when no process is left, results have half a second to go out;
// then the disks are settled, and a host that asked for the end is told how that went, which has
// half a second too. The loop runs on meanwhile, but for the settling: children are reaped, and
// hosts are answered.
type downStep uint8

const (
	downNot     downStep = iota
	downAsked            // processes were asked to end
	downKilled           // they were killed
	downEmpty            // none is left
	downFlushed          // and nothing of theirs is to be sent: the disks are next
	downSettled          // the disks are settled, or will not be
	downLast             // of an agent that is no init: no host is left either; what was started is being killed
)

// Power is how a host, or a signal, asked for the machine's end.
type Power uint8

// The ways; PowerUnasked is that neither did.
const (
	PowerUnasked Power = iota
	PowerRestart
	PowerOff
	PowerHalt
)

// powerRequest is a host's request for the end. The newest says how, and is answered if its connection lasts.
type powerRequest struct {
	waiter
	how Power
}

// open reports whether somebody waits for an answer who could ask again.
func (p *powerRequest) open() bool { return p.conn != nil && p.conn.state == connOpen }

var (
	errGoingDown = &sys.WordedError{Errno: unix.EBUSY, Words: "machine is going down"}
	errNotInit   = &sys.WordedError{Errno: unix.EPERM, Words: "power: not process 1"}
)

// powerDown is the request.
func (c *conn) powerDown(p *framing.Part) error {
	how, graceMS, err := framing.ParsePower(p.Data)
	if err != nil {
		return err
	}
	a := c.agent
	switch {
	case !a.cfg.Init:
		c.done(p.Seq, 0, errNotInit)
	case how > framing.PowerHalt:
		c.done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: "power: unknown way " + sys.Num(uint32(how))})
	case a.power.open() || a.down >= downFlushed:
		c.done(p.Seq, 0, errGoingDown)
	default:
		a.power.answer(errGoingDown) // to one that sends nothing more, and most likely is gone
		a.power.wait(c, p.Seq)
		a.power.how = PowerRestart + Power(how)
		grace := time.Duration(graceMS) * time.Millisecond
		if grace == 0 {
			grace = downGrace
		}
		a.log.Info("ending", "conn", sys.Num(c.id))
		a.end(grace)
		a.stepDown()
	}
	return nil
}

// Power is how the machine is to end, once Run has returned.
func (a *Agent) Power() Power { return a.power.how }

// end begins the end. Once begun it goes on by itself. An init waits so long between TERM and KILL, or less if it is asked for again.
func (a *Agent) end(grace time.Duration) {
	killAt := reactor.Now() + grace
	switch {
	case a.down == downNot && !a.cfg.Init:
		grace = stopGrace
		a.forward(unix.SIGTERM) // whatever began the end: a program cleans up on this signal
		a.forward(unix.SIGCONT) // one that is stopped would not hear of it
	case a.down == downNot:
		a.freezer.end() // a process that waits for the thaw does not end
		unix.Kill(-1, unix.SIGTERM)
		unix.Kill(-1, unix.SIGCONT)
	case a.down != downAsked || killAt >= a.killAt:
		return
	}
	a.down, a.killAt = downAsked, killAt
	a.loop.Start(&a.downTime, grace, (*downTimer)(a))
}

// stepDown looks whether what is waited for has come.
func (a *Agent) stepDown() {
	switch a.down {
	case downAsked, downKilled:
		if a.cfg.Init {
			if !a.loop.Childless() {
				return
			}
			a.down = downEmpty
			a.loop.Start(&a.downTime, stopGrace, (*downTimer)(a))
		}
		fallthrough
	case downEmpty:
		if len(a.commands) == 0 && a.told() && len(a.commits) == 0 && a.idle() {
			if !a.cfg.Init {
				a.Stop()
				return
			}
			a.down = downFlushed
			a.loop.Start(&a.downTime, 0, (*downTimer)(a))
		}
	case downLast:
		if !a.sessionsRun() {
			a.Stop()
		}
	case downSettled:
		for _, c := range a.conns {
			// The kernel has the last words of these, but the host may not have them yet: it is waited for.
			if c.state == connRefused || c.state == connLingering {
				return
			}
		}
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

// settle brings the disks to their end, and tells who asked for it. It may take as long as they do, with nobody left to wait for the loop.
// Whatever holds files on them is let go first; afterwards nothing may touch them.
func (a *Agent) settle() {
	a.letGo()
	var err error
	if a.cfg.Settle != nil {
		reactor.LeaveIn() // the disks are settled by a fork of this program
		if err = a.cfg.Settle(); err != nil {
			err = &sys.WordedError{Errno: unix.EIO, Words: err.Error()}
		}
	}
	a.down = downSettled
	a.loop.Start(&a.downTime, answerGrace, (*downTimer)(a))
	if c := a.power.conn; c != nil {
		c.state = connRefused // before, for with the last byte sent it is asked whom there is to wait for
		a.power.answer(err)
		c.refused()
	}
	a.stepDown()
}

// letGo gives up what holds files: requests that will not be whole, channels of reads and writes, results that nobody has taken.
func (a *Agent) letGo() {
	a.freezer.end()
	for i := len(a.conns) - 1; i >= 0; i-- {
		if c := a.conns[i]; c.stream.Idle() {
			c.dropRequest()
			c.loseChannels()
		} else {
			c.close() // it has had its time
		}
	}
	for len(a.commits) > 0 {
		a.commits[0].abandon()
	}
	for _, r := range a.takeExits() {
		r.command.release()
	}
	for len(a.commands) > 0 {
		a.commands[0].abandon()
	}
}

// downTimer is an agent as the handler of the end's timer.
type downTimer Agent

func (d *downTimer) Expired(*reactor.Timer) {
	a := (*Agent)(d)
	switch {
	case !a.cfg.Init || a.down == downSettled:
		a.Stop()
	case a.down == downAsked:
		a.log.Warn("processes left after SIGTERM are killed")
		a.down = downKilled
		unix.Kill(-1, unix.SIGKILL)
		a.loop.Start(&a.downTime, killedGrace, d)
	default:
		a.settle()
	}
}

// Failed implements [reactor.Failer]: whatever is wrong with it, the end is not where this stops.
func (d *downTimer) Failed(value any, stack []byte) {
	a := (*Agent)(d)
	a.log.Panic("end", value, stack)
	a.Stop()
}
