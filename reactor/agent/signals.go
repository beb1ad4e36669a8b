package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// forwarded are the signals that go to the process groups of the running commands, and do nothing
// to the agent. An init has a use of its own for those after initForwards.
var forwarded = [...]unix.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH, unix.SIGUSR1, unix.SIGUSR2}

const initForwards = 3

// ending is a signal that ends the agent, and how an init then ends its machine: unasked is as
// it was configured.
type ending struct {
	sig unix.Signal
	how Power
}

// sigRTMin is the first real-time signal to programs of glibc, which keeps two to itself.
const sigRTMin unix.Signal = 34

// endings are the signals that end an agent. Those after plainEndings end an init alone.
// Ctrl-Alt-Del is SIGINT to process 1, once it has said so to the kernel, and a failing power
// supply SIGPWR. The others are sent by the halt, poweroff and reboot of busybox and toybox (whose
// reboot is SIGTERM or SIGINT), and of systemd. A machine that has halted would hold its memory for
// nothing, so halt powers off.
var endings = [...]ending{
	{unix.SIGTERM, powerDefault}, {unix.SIGINT, powerDefault},
	{unix.SIGPWR, powerDefault}, {unix.SIGUSR1, PowerOff}, {unix.SIGUSR2, PowerOff},
	{sigRTMin + 3, PowerOff}, {sigRTMin + 4, PowerOff}, {sigRTMin + 5, PowerRestart},
}

const plainEndings = 2

func (c *Config) forwarded() []unix.Signal {
	if c.Init {
		return forwarded[:initForwards]
	}
	return forwarded[:]
}

func (c *Config) endings() []ending {
	if c.Init {
		return endings[:]
	}
	return endings[:plainEndings]
}

// ClaimSignals claims what an agent with that configuration handles, and shields process 1 from
// what would end it. New does it too; an init does it first of all, because until then SIGTERM and
// SIGINT end it.
func (c *Config) ClaimSignals() error {
	sigs := append([]unix.Signal(nil), c.forwarded()...)
	for _, e := range c.endings() {
		sigs = append(sigs, e.sig)
	}
	if reapsOrphans() {
		sigs = append(sigs, unix.SIGCHLD)
	}
	if unix.Getpid() == 1 {
		if err := reactor.ShieldFaults(); err != nil {
			return err
		}
	}
	return reactor.ClaimSignals(sigs...)
}

// reapsOrphans reports whether the kernel makes orphans children of this process: it is process 1,
// of the machine or of a container, or it was made a child subreaper before it was executed;
// prctl(2).
func reapsOrphans() bool { return unix.Getpid() == 1 || sys.ChildSubreaper() }

func (a *Agent) openSignals() error {
	if err := a.cfg.ClaimSignals(); err != nil {
		return err
	}
	a.loop.HandleSignals(a)
	return nil
}

// Signaled implements [reactor.SignalHandler].
func (a *Agent) Signaled(set reactor.SignalSet) {
	if set.Has(unix.SIGCHLD) {
		a.loop.ReapOrphans() // it is claimed only if there may be any
	}
	for _, sig := range a.cfg.forwarded() {
		if set.Has(sig) {
			a.table.Signal(sig)
		}
	}
	for _, e := range a.cfg.endings() {
		if !set.Has(e.sig) {
			continue
		}
		a.shutDown("signal", signalText(e.sig), e.how)
	}
	if a.down != downNone {
		a.stepDown()
	}
}

// endBy begins the end, for a reason from within the machine, which may say how.
func (a *Agent) shutDown(kind, what string, how Power) {
	a.log.Info("ending", kind, what)
	if how != powerDefault && a.down < downDisks {
		a.power.how = how
	}
	a.beginDown(downGrace)
	a.stepDown()
}

// signalText is a signal's name, or its number if it has none.
func signalText(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sys.Num(sig)
}

// Failed implements [reactor.Failer].
func (a *Agent) Failed(value any, stack []byte) { a.log.Panic("agent", value, stack) }
