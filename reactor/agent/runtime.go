package agent

import (
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/sys"
)

// Main is the main function of a program with an agent in it. It calls f with the program's arguments, as
// os.Args has them, once the process is prepared: its descriptors, and the Go runtime for a single loop. If
// the program was started to do a job (JobCommand), it does that instead and ends.
func Main(f func(args []string)) {
	launch.RunJob(machine.SyncJob, machine.FreezeJob, files.SyncJob)
	sys.Tune()
	f(sys.Args())
}

// JobCommand runs this very program as a child that does a job, for a program whose main is Main.
var JobCommand = launch.JobCommand
