package agent

import "wick/reactor/agent/internal/files"

// configure applies a text of options of a host's, as far as they can change while the agent runs.
func (a *Agent) configure(text []byte, wrong func(line int, reason string)) {
	cfg := a.cfg.Configure(text, wrong)
	cfg.Limits.complete()
	a.log.SetLevel(cfg.Log.Level())
	a.env.Defaults = cfg.defaults
	a.cfg.forgets = cfg.forgets
	limits := &a.cfg.Limits
	limits.Exits, limits.Spool = cfg.Limits.Exits, cfg.Limits.Spool
	limits.SpoolTotal = cfg.Limits.SpoolTotal
	a.commands.Exits, a.commands.Spool = limits.Exits, limits.Spool
	a.commands.SpoolTotal = limits.SpoolTotal
	a.cfg.Facts = cfg.Facts
	a.machine.Facts = a.facts()
	a.services.Configure()
}

// configured is called after a configure. A workload may wait for a complete one.
func (a *Agent) configured(complete bool) {
	if complete {
		a.services.Configured()
	}
}

// SetHostname sets the machine's name, and that in /etc/hosts. Call it on the goroutine of Run.
func (a *Agent) SetHostname(name string) error {
	if a.disk.Held() {
		return files.ErrFrozen
	}
	return a.network.Rename(name)
}

// restored is called after a restore.
func (a *Agent) restored() {
	if a.cfg.forgets {
		a.forgetSecrets()
	}
}

func (a *Agent) forgetSecrets() {
	if a.secrets != nil {
		a.secrets.Forget()
	}
}
