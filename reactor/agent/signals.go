package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// forwarded are the signals that an agent forwards to the process groups of running commands. It
// does not react to them itself. An agent with Init forwards only the first initForwards, and
// handles the others.
var forwarded = [...]unix.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH, unix.SIGUSR1, unix.SIGUSR2,
}

const initForwards = 3

// ending is a signal that ends the agent. how is how the machine of an agent with Init then ends.
type ending struct {
	sig unix.Signal
	how Power
}

// sigRTMin is the first real-time signal as programs see it. glibc keeps two for itself.
const sigRTMin unix.Signal = 34

// endings are the signals that end an agent. Those after the first plainEndings end only an agent
// with Init.
//
// Process 1 gets SIGINT for Ctrl-Alt-Del, once it has asked the kernel for that, and SIGPWR for a
// failing power supply. The others come from halt, poweroff and reboot of busybox, toybox and
// systemd. The reboot of busybox and toybox is SIGTERM or SIGINT. Halt powers off, because a halted
// machine would hold its memory for nothing.
var endings = [...]ending{
	{unix.SIGTERM, powerDefault}, {unix.SIGINT, powerDefault},
	{unix.SIGPWR, powerDefault}, {unix.SIGUSR1, PowerOff}, {unix.SIGUSR2, PowerOff},
	{sigRTMin + 3, PowerOff}, {sigRTMin + 4, PowerOff}, {sigRTMin + 5, PowerRestart},
}

const plainEndings = 2

// forwarded returns the signals that an agent with this configuration forwards.
func (c *Config) forwarded() []unix.Signal {
	if c.Init {
		return forwarded[:initForwards]
	}
	return forwarded[:]
}

// endings returns the signals that end an agent with this configuration.
func (c *Config) endings() []ending {
	if c.Init {
		return endings[:]
	}
	return endings[:plainEndings]
}

// ClaimSignals claims the signals that an agent with this configuration handles. In process 1 it
// also ignores the fault signals that other processes send, which would end a Go program. New does
// all this too. An init calls it first of all, because until then SIGTERM and SIGINT would end it.
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

// reapsOrphans reports whether the kernel makes orphans children of this process. It does so for
// process 1 of a machine or a container, and for a child subreaper; prctl(2).
func reapsOrphans() bool { return unix.Getpid() == 1 || sys.ChildSubreaper() }

// openSignals claims the signals and handles them on the loop.
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
		a.loop.ReapOrphans()
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
		a.shutDown("signal", sys.SignalText(e.sig), e.how)
	}
	if a.down != downNone {
		a.stepDown()
	}
}

// shutDown begins a shutdown for a reason from within the machine. how may be powerDefault.
func (a *Agent) shutDown(kind, what string, how Power) {
	if a.cause == "" {
		a.cause = kind + " " + what
	}
	a.log.Info("ending", kind, what)
	if how != powerDefault && a.down < downDisks {
		a.power.how = how
	}
	a.beginDown(0)
	a.stepDown()
}

// Failed implements [reactor.Failer].
func (a *Agent) Failed(value any, stack []byte) { a.log.Panic("agent", value, stack) }
