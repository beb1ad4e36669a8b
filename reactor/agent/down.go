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

// downStep is how far a shutdown has come. An agent beside other processes sends its commands TERM,
// and waits half a second for them and for hosts to take their results.
//
// An agent with Init ends the machine. It stops its services by their own signals and graces. Then
// it sends every process TERM, KILL after five seconds, and waits one second more. Once no process
// is left, hosts have half a second to take results. Then the disks are prepared for power-off, and
// the host that asked for it has answerGrace to take the answer.
//
// The loop runs on meanwhile, except while the disks are prepared: it reaps children and serves
// hosts.
type downStep uint8

const (
	downNone        downStep = iota // no shutdown has begun
	downServices                    // with Init: services got their signals
	downTerminating                 // processes got SIGTERM
	downKilling                     // processes got SIGKILL
	downFlushing                    // no process is left; results are being sent
	downDisks                       // results are sent; the disks are next
	downAnswering                   // the disks are done; the answer is being sent
	downSessions                    // without Init: processes of start requests got SIGKILL
)

// Power is how a machine ends.
type Power = framing.PowerHow

// The ways in which a machine ends.
const (
	PowerRestart = framing.PowerRestart
	PowerOff     = framing.PowerOff
	PowerHalt    = framing.PowerHalt
	// powerDefault leaves the way to the configuration.
	powerDefault Power = 0xFF
)

// powerRequest is a host's request to end the machine. The latest one decides how the machine ends.
// It is answered if its connection lasts.
type powerRequest struct {
	wire.Waiter
	how Power
}

// waiting reports whether the request is unanswered on an open connection.
func (p *powerRequest) waiting() bool { return p.Conn() != nil && p.Conn().Open() }

var errNotInit = &sys.WordedError{Errno: unix.EPERM, Words: "power: not process 1"}

// powerDown handles a power request.
func (a *Agent) powerDown(c *wire.Conn, p *framing.Part) error {
	how, graceMS, err := framing.ParsePower(p.Data)
	if err != nil {
		return err
	}
	switch {
	case !a.cfg.Init:
		c.Done(p.Seq, 0, errNotInit)
	case how > framing.PowerHalt:
		words := "power: unknown way " + sys.Num(uint32(how))
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: words})
	case a.power.waiting() || a.down >= downDisks:
		c.Done(p.Seq, 0, machine.ErrGoingDown)
	default:
		a.power.Answer(machine.ErrGoingDown) // the last requester, which has shut down its side
		a.power.Wait(c, p.Seq)
		a.power.how = how
		a.cause = "host, connection " + sys.Num(c.ID())
		a.log.Info("ending", "conn", sys.Num(c.ID()))
		a.beginDown(time.Duration(graceMS) * time.Millisecond)
		a.stepDown()
	}
	return nil
}

// Power returns how the machine is to end, after Run. asked is false if neither a host nor a signal
// said so.
func (a *Agent) Power() (how Power, asked bool) { return a.power.how, a.power.how != powerDefault }

// beginDown begins a shutdown, which then continues by itself. grace is the time between TERM and
// KILL of an agent with Init, and the most that its services have together; 0 for the usual
// times. A second call can only shorten them.
func (a *Agent) beginDown(grace time.Duration) {
	usual := grace == 0
	if usual {
		grace = downGrace
	}
	switch {
	case a.down == downNone && !a.cfg.Init:
		a.machine.Stop()
		a.hardware.Stop()
		a.table.Signal(unix.SIGTERM)
		a.table.Signal(unix.SIGCONT) // a stopped process handles no signal
		a.startPhase(downTerminating, stopGrace)
	case a.down == downNone:
		a.machine.Stop()
		a.hardware.Stop()
		a.grace = grace
		if stop, runs := a.services.Stop(); !runs {
			a.terminate()
		} else if usual {
			a.startPhase(downServices, stop)
		} else {
			a.startPhase(downServices, min(stop, grace))
		}
	case a.down == downServices, a.down == downTerminating:
		a.grace = min(a.grace, grace)
		if reactor.Now()+grace < a.killAt {
			a.startPhase(a.down, grace)
		}
	}
}

// startPhase begins a step that ends after so long.
func (a *Agent) startPhase(step downStep, limit time.Duration) {
	a.down, a.killAt = step, reactor.Now()+limit
	a.loop.Start(&a.phaseTimer, limit, (*downTimer)(a))
}

// terminate sends every process TERM.
func (a *Agent) terminate() {
	unix.Kill(-1, unix.SIGTERM)
	unix.Kill(-1, unix.SIGCONT)
	a.startPhase(downTerminating, a.grace)
}

// stepDown takes the next step of a shutdown if the current one is done.
func (a *Agent) stepDown() {
	if a.down == downServices && !a.services.Running() {
		a.terminate()
	}
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
		// The kernel has sent the answer, but the host may not have read it yet.
		if !a.server.Lingering() {
			a.Stop()
		}
	}
	if a.server.Heard() {
		a.Stop()
	}
}

// shutDownDisks prepares the disks for power-off, and answers the power request. It blocks the
// loop, which nothing waits for any more. First it drops whatever holds files on the disks;
// afterwards nothing may touch them.
func (a *Agent) shutDownDisks() {
	a.drop()
	var err error
	if a.cfg.Settle != nil {
		reactor.LeaveIn() // Settle forks this program
		if err = a.cfg.Settle(); err != nil {
			err = &sys.WordedError{Errno: unix.EIO, Words: err.Error()}
		}
	}
	a.disk.Hold() // never released
	if c := a.power.Conn(); c != nil {
		a.power.Answer(err)
		c.Refuse()
	}
	a.down = downAnswering
	a.loop.Start(&a.phaseTimer, answerGrace, (*downTimer)(a))
	a.stepDown()
}

// drop drops whatever holds files: incomplete requests, channels of reads and writes, and results
// that no host has taken.
func (a *Agent) drop() {
	a.machine.Stop()
	a.commands.Stop()
	a.server.Drop()
	a.files.Drop()
	a.commands.Drop()
	a.forgetSecrets()
}

// downTimer is an agent as the handler of phaseTimer.
type downTimer Agent

// Expired implements [reactor.TimerHandler]. It ends the current step.
func (d *downTimer) Expired(*reactor.Timer) {
	a := (*Agent)(d)
	switch {
	case !a.cfg.Init || a.down == downAnswering:
		a.Stop()
	case a.down == downServices:
		a.services.Kill()
		a.terminate()
	case a.down == downTerminating:
		a.log.Warn("killing processes that survived SIGTERM")
		a.down = downKilling
		unix.Kill(-1, unix.SIGKILL)
		a.loop.Start(&a.phaseTimer, killedGrace, d)
	default:
		a.shutDownDisks()
	}
}

// Failed implements [reactor.Failer]. A panic does not keep the agent from ending.
func (d *downTimer) Failed(value any, stack []byte) {
	a := (*Agent)(d)
	a.log.Panic("end", value, stack)
	a.Stop()
}

// runLevel ends the machine for a tool of sysvinit's.
func (a *Agent) runLevel(level byte) {
	switch level {
	case '0':
		a.shutDown("initctl", "0", PowerOff)
	case '6':
		a.shutDown("initctl", "6", PowerRestart)
	}
}
