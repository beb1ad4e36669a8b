package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/workload"
)

// maxServices is the most services.
const maxServices = workload.Max

// services are the services of an agent with Init: a [workload.Service]. A program without
// [Options.InitTable] does not contain that room, which no other code of the agent names.
type services interface {
	AddFacts(f *framing.Facts)
	HostHere()
	Configure()
	Configured()
	// Signal sends a signal to the workload, and reports whether it runs.
	Signal(sig unix.Signal) bool
	Stop() (grace time.Duration, runs bool)
	Running() bool
	Kill()
	Close()
}

// openServices returns what makes the services of the options.
func openServices(specs *workload.Specs) func(a *Agent) services {
	return func(a *Agent) services {
		return workload.NewService(workload.Config{
			Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Sessions: a.sessions,
			Specs: specs, Changed: a.stepDown,
			End: func() { a.shutDown("workload", "ended", powerDefault) },
		})
	}
}

// noServices is an agent without services.
type noServices struct{}

func (noServices) AddFacts(*framing.Facts)     {}
func (noServices) HostHere()                   {}
func (noServices) Configure()                  {}
func (noServices) Configured()                 {}
func (noServices) Signal(unix.Signal) bool     { return false }
func (noServices) Stop() (time.Duration, bool) { return 0, false }
func (noServices) Running() bool               { return false }
func (noServices) Kill()                       {}
func (noServices) Close()                      {}
