package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// jobs are what takes as long as a disk does. A child does them, this very program, so that the agent never waits for a disk.
var jobs = [...]struct {
	name string
	do   func(argument string) error // stdin is what it is about
}{
	{jobSync, func(string) error { unix.Sync(); return nil }},
	{jobSyncFile, func(string) error { return unix.Fsync(0) }},
	{jobFreeze, freezeJob},
}

// The names of the jobs.
const (
	jobSync     = "sync"
	jobSyncFile = "sync-file"
	jobFreeze   = "freeze"
)

// JobCommand runs this very program as a child that does a job, for a program whose main begins with RunJob.
var JobCommand = []string{"/proc/self/exe", jobArgument}

const jobArgument = "job"

// RunJob does what JobCommand is for and ends the program, if it was started for that. The exit status is an errno, or 0.
func RunJob() {
	args := sys.Args()
	if len(args) != len(JobCommand)+2 || args[1] != jobArgument {
		return
	}
	for _, job := range jobs {
		if job.name == args[2] {
			errno, _ := job.do(args[3]).(unix.Errno)
			unix.Exit(int(errno))
		}
	}
	unix.Exit(int(unix.EINVAL))
}

// startJob starts a child that does a job, with an argument, stdin and stdout as the job wants them.
func (a *Agent) startJob(child *reactor.Child, job, argument string, stdin, stdout int, h reactor.ChildHandler) error {
	args := append(a.cfg.JobCommand[:len(a.cfg.JobCommand):len(a.cfg.JobCommand)], job, argument)
	return a.loop.Spawn(child, &reactor.Command{Path: args[0], Args: args, Files: [3]int{stdin, stdout, a.log.FD()}}, h)
}

// jobErrno is how a job ended.
func jobErrno(child *reactor.Child, status unix.WaitStatus) unix.Errno {
	if errno := sys.ErrnoOf(child.Failure()); errno != 0 {
		return errno
	}
	if status.Signaled() {
		return unix.EINTR
	}
	return unix.Errno(status.ExitStatus())
}
