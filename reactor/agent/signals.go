package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
)

// forwarded are the signals that go to the process groups of the running commands, and do nothing to the agent.
var forwarded = [...]unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGQUIT}

// ending are the signals that end the agent. The host's Ctrl-Alt-Del is SIGINT to process 1, once it has said so to the
// kernel, and a failing power supply SIGPWR.
func (c *Config) ending() []unix.Signal {
	if c.Init {
		return []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGPWR}
	}
	return []unix.Signal{unix.SIGTERM, unix.SIGINT}
}

// ClaimSignals claims what an agent with that configuration handles, and shields an init from what would end it. New does it too; an init does it
// first of all, for until then SIGTERM and SIGINT are its end.
func (c *Config) ClaimSignals() error {
	sigs := append(c.ending(), forwarded[:]...)
	if c.Init {
		sigs = append(sigs, unix.SIGCHLD)
		if err := reactor.ShieldFaults(); err != nil {
			return err
		}
	}
	return reactor.ClaimSignals(sigs...)
}

func (a *Agent) takeSignals() error {
	if err := a.cfg.ClaimSignals(); err != nil {
		return err
	}
	a.loop.HandleSignals(a)
	return nil
}

// Signaled implements [reactor.SignalHandler].
func (a *Agent) Signaled(set reactor.SignalSet) {
	if set.Has(unix.SIGCHLD) && a.cfg.Init {
		a.loop.ReapOrphans()
	}
	for _, sig := range forwarded {
		if set.Has(sig) {
			a.forward(sig)
		}
	}
	for _, sig := range a.cfg.ending() {
		if set.Has(sig) {
			a.log.Info("ending", "signal", unix.SignalName(sig))
			a.forward(sig)
			a.end(downGrace)
		}
	}
	if a.down != downNot {
		a.stepDown()
	}
}

// forward sends a signal to every running command's group.
func (a *Agent) forward(sig unix.Signal) {
	for _, p := range a.running {
		p.child.SignalGroup(sig)
	}
}

// Failed implements [reactor.Failer].
func (a *Agent) Failed(value any, stack []byte) { a.logPanic("agent", value, stack) }

// logPanic writes down a fault of the agent's own.
func (a *Agent) logPanic(where string, value any, stack []byte) {
	text := "unknown"
	switch v := value.(type) {
	case error:
		text = v.Error()
	case string:
		text = v
	case int:
		text = num(v)
	}
	a.log.Error("panic", "in", where, "value", text, "stack", string(stack))
}
