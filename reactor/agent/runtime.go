package agent

import (
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/sys"
)

// Args returns the program's arguments, as os.Args has them.
func Args() []string { return sys.Args() }

// Tune prepares the process for an agent: its descriptors, and the Go runtime for a single loop.
func Tune() { sys.Tune() }

// JobCommand runs this very program as a child that does a job, for a program whose main begins with RunJob.
var JobCommand = launch.JobCommand

// RunJob does what JobCommand is for and ends the program, if it was started for that.
func RunJob() { launch.RunJob(machine.SyncJob, machine.FreezeJob, files.SyncJob) }
