package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/command"
	"wick/reactor/agent/internal/configure"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/evidence"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/forward"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/network"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/watch"
	"wick/reactor/agent/internal/wire"
)

// openRooms makes the rooms. Each registers the message types that it serves.
func (a *Agent) openRooms() (err error) {
	limits := &a.cfg.Limits
	boxes := func(f func(*contain.Box)) { a.table.EachBox(f) }
	a.contain = contain.New(a.loop, a.log, &a.garbage, boxes)
	a.table = launch.NewTable(a.loop, a.contain, limits.Commands, a.stepDown)
	a.server = wire.NewServer(wire.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage,
		Conns: limits.Conns, LastWords: a.cfg.LastWords, Changed: a.stepDown,
	})
	captures := captureBuffers
	if a.cfg.LastWords != "" {
		captures = 1
	}
	a.commands, err = command.NewService(command.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Table: a.table,
		Env: &a.env, Disk: &a.disk,
		Null: a.null, Root: a.root, Captures: captures,
		Exits: limits.Exits, Spool: limits.Spool, SpoolTotal: limits.SpoolTotal,
		Changed: a.stepDown,
	})
	if err != nil {
		return err
	}
	openServices, places := a.cfg.openServices, maxServices
	if !a.cfg.Init || a.cfg.LastWords != "" || openServices == nil {
		openServices, places = nil, 0
	}
	a.sessions, err = session.NewService(session.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Table: a.table,
		Env: &a.env, Null: a.null, Root: a.root, Kept: limits.Kept, Places: places,
		Changed: a.stepDown,
	})
	if err != nil {
		return err
	}
	a.jobs = &launch.Jobs{Command: a.cfg.JobCommand, Loop: a.loop, Log: a.log}
	a.files = files.NewService(files.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Disk: &a.disk, Jobs: a.jobs,
		Root: a.root, SudoPath: a.env.SudoPath(), Null: a.null, Changed: a.stepDown,
	})
	a.network = network.NewService(network.Config{
		Log: a.log, Garbage: &a.garbage, Server: a.server, Disk: &a.disk,
	})
	a.forward = forward.NewService(forward.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Disk: &a.disk,
	})
	a.table.Watch = a.forward.Changed
	evidence.NewService(evidence.Config{Loop: a.loop, Log: a.log, Server: a.server})
	watch.NewService(watch.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Dirs: limits.Watches,
	})
	a.services, a.hardware = noServices{}, noHardware{}
	if openServices != nil {
		a.services = openServices(a)
	} else {
		a.refuse(sys.NewError("services", "", unix.ENOSYS), framing.TypeServices, framing.TypeService)
	}
	generation := ""
	if a.cfg.Init && a.cfg.LastWords == "" {
		generation = generationPath
	}
	features := session.Features | files.Features | forward.Features | evidence.Features |
		watch.Features
	if a.root {
		features |= network.Features
	}
	if a.cfg.Init {
		features |= framing.FeaturePower
	}
	if openServices != nil {
		features |= framing.FeatureServices
	}
	if a.cfg.hardware != nil && a.cfg.LastWords == "" {
		features |= framing.FeatureDisks
		a.hardware = a.cfg.hardware(a)
	} else {
		a.refuse(errNoHardware, framing.TypeMount, framing.TypeUnmount, framing.TypeDisk)
	}
	if a.cfg.Configure != nil {
		features |= configure.Features
		a.secrets = configure.NewService(configure.Config{
			Log: a.log, Garbage: &a.garbage, Server: a.server, Env: &a.env, Root: a.root,
			Apply: a.configure, Done: a.configured,
		})
	}
	a.machine = machine.NewService(machine.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Contain: a.contain,
		Jobs: a.jobs, Disk: &a.disk, Null: a.null, FreezeFD: a.cfg.FreezeFD,
		Features: features, Facts: a.facts(), AddFacts: a.addFacts, AddFigures: a.addFigures,
		HostHere: a.services.HostHere, Restored: a.restored,
		Table: a.table, Env: &a.env, Network: a.network,
		Notice: a.cfg.notice, Signal: a.services.Signal, Generation: generation,
	})
	a.server.Handle(framing.TypePower, a.powerDown)
	a.server.OnDetach(a.power.Forget)
	return nil
}

// refuse has requests answered with an error.
func (a *Agent) refuse(err error, types ...framing.Type) {
	for _, t := range types {
		a.server.HandleEmpty(t, func(c *wire.Conn, p *framing.Part) error {
			c.Done(p.Seq, 0, err)
			return nil
		})
	}
}
