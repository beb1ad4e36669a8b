package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// downStep is how far the end has come. An agent beside others sends its own commands TERM, and
// waits for them and for their results to go out, for half a second. An init ends everything: TERM,
// five seconds, KILL, one second; when no process is left, results have half a second to go out;
// then the disks are settled, and a host that asked for the end is told how that went, which has
// half a second too. The loop runs on meanwhile, but for the settling: children are reaped, and
// hosts are answered.
type downStep uint8

const (
	downNone        downStep = iota
	downTerminating          // processes were asked to end
	downKilling              // they were killed
	downFlushing             // none is left
	downDisks                // and nothing of theirs is to be sent: the disks are next
	downAnswering            // the disks are settled, or will not be
	downSessions             // of an agent that is no init: no host is left either; what was started is being killed
)

// Power is how a machine ends.
type Power = framing.PowerHow

// The ways.
const (
	PowerRestart = framing.PowerRestart
	PowerOff     = framing.PowerOff
	PowerHalt    = framing.PowerHalt
	// unasked leaves it to the configuration.
	powerDefault Power = 0xFF
)

// powerRequest is a host's request for the end. The newest says how, and is answered if its connection lasts.
type powerRequest struct {
	wire.Waiter
	how Power
}

// open reports whether somebody waits for an answer who could ask again.
func (p *powerRequest) waiting() bool { return p.Conn() != nil && p.Conn().Open() }

var errNotInit = &sys.WordedError{Errno: unix.EPERM, Words: "power: not process 1"}

// powerDown is the request.
func (a *Agent) powerDown(c *wire.Conn, p *framing.Part) error {
	how, graceMS, err := framing.ParsePower(p.Data)
	if err != nil {
		return err
	}
	switch {
	case !a.cfg.Init:
		c.Done(p.Seq, 0, errNotInit)
	case how > framing.PowerHalt:
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: "power: unknown way " + sys.Num(uint32(how))})
	case a.power.waiting() || a.down >= downDisks:
		c.Done(p.Seq, 0, machine.ErrGoingDown)
	default:
		a.power.Answer(machine.ErrGoingDown) // to one that sends nothing more, and most likely is gone
		a.power.Wait(c, p.Seq)
		a.power.how = how
		grace := time.Duration(graceMS) * time.Millisecond
		if grace == 0 {
			grace = downGrace
		}
		a.log.Info("ending", "conn", sys.Num(c.ID()))
		a.beginDown(grace)
		a.stepDown()
	}
	return nil
}

// Power returns how a host, or a signal, asked for the machine to end, once Run has returned.
func (a *Agent) Power() (how Power, asked bool) { return a.power.how, a.power.how != powerDefault }

// end begins the end. Once begun it goes on by itself. An init waits so long between TERM and KILL, or less if it is asked for again.
func (a *Agent) beginDown(grace time.Duration) {
	killAt := reactor.Now() + grace
	switch {
	case a.down == downNone && !a.cfg.Init:
		grace = stopGrace
		a.machine.Stop()
		a.table.Signal(unix.SIGTERM) // whatever began the end: a program cleans up on this signal
		a.table.Signal(unix.SIGCONT) // one that is stopped would not hear of it
	case a.down == downNone:
		a.machine.Stop()
		unix.Kill(-1, unix.SIGTERM)
		unix.Kill(-1, unix.SIGCONT)
	case a.down != downTerminating || killAt >= a.killAt:
		return
	}
	a.down, a.killAt = downTerminating, killAt
	a.loop.Start(&a.phaseTimer, grace, (*downTimer)(a))
}

// stepDown looks whether what is waited for has come.
func (a *Agent) stepDown() {
	switch a.down {
	case downTerminating, downKilling:
		if a.cfg.Init {
			if !a.loop.Childless() {
				return
			}
			a.down = downFlushing
			a.loop.Start(&a.phaseTimer, stopGrace, (*downTimer)(a))
		}
		fallthrough
	case downFlushing:
		if !a.commands.Busy() && a.sessions.AllReported() && !a.files.Busy() && a.server.Idle() {
			if !a.cfg.Init {
				a.Stop()
				return
			}
			a.down = downDisks
			a.commands.Stop()
			a.loop.Start(&a.phaseTimer, 0, (*downTimer)(a))
		}
	case downSessions:
		if !a.table.Runs(framing.KindStart) {
			a.Stop()
		}
	case downAnswering:
		// The kernel has the last words of a connection, but the host may not have them yet: it is waited for.
		if !a.server.Lingering() {
			a.Stop()
		}
	}
	if a.server.Heard() {
		a.Stop()
	}
}

// settle brings the disks to their end, and tells who asked for it. It may take as long as they do, with nobody left to wait for the loop.
// Whatever holds files on them is let go first; afterwards nothing may touch them.
func (a *Agent) shutDownDisks() {
	a.drop()
	var err error
	if a.cfg.Settle != nil {
		reactor.LeaveIn() // the disks are settled by a fork of this program
		if err = a.cfg.Settle(); err != nil {
			err = &sys.WordedError{Errno: unix.EIO, Words: err.Error()}
		}
	}
	a.disk.Hold() // for ever
	if c := a.power.Conn(); c != nil {
		a.power.Answer(err)
		c.Refuse()
	}
	a.down = downAnswering
	a.loop.Start(&a.phaseTimer, answerGrace, (*downTimer)(a))
	a.stepDown()
}

// drop gives up what holds files: requests that will not be whole, channels of reads and writes, results that no host has taken.
func (a *Agent) drop() {
	a.machine.Stop()
	a.commands.Stop()
	a.server.Drop()
	a.files.Drop()
	a.commands.Drop()
}

// downTimer is an agent as the handler of the end's timer.
type downTimer Agent

func (d *downTimer) Expired(*reactor.Timer) {
	a := (*Agent)(d)
	switch {
	case !a.cfg.Init || a.down == downAnswering:
		a.Stop()
	case a.down == downTerminating:
		a.log.Warn("processes left after SIGTERM are killed")
		a.down = downKilling
		unix.Kill(-1, unix.SIGKILL)
		a.loop.Start(&a.phaseTimer, killedGrace, d)
	default:
		a.shutDownDisks()
	}
}

// Failed implements [reactor.Failer]: whatever is wrong with it, the end is not where this stops.
func (d *downTimer) Failed(value any, stack []byte) {
	a := (*Agent)(d)
	a.log.Panic("end", value, stack)
	a.Stop()
}
