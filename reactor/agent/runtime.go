package agent

import (
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/sys"
)

// Main is the main function of a program that contains an agent. It prepares the descriptors and
// the Go runtime, and then calls f with the program's arguments, as in os.Args. If the program was
// started as a job (JobCommand), Main does the job and exits instead. jobs are those beside the
// agent's own.
func Main(f func(args []string), jobs ...Job) {
	launch.RunJob(append(jobs, machine.SyncJob, machine.FreezeJob, files.SyncJob)...)
	sys.Tune()
	f(sys.Args())
}

// JobCommand starts this program again as a job. The program's main must call Main.
var JobCommand = launch.JobCommand
