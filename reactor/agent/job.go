package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
)

// jobs are what takes as long as a disk does. A child does them, this very program, so that the agent never waits for a disk.
var jobs = [...]struct {
	name string
	do   func() error // stdin is what it is about
}{
	{jobSync, func() error { unix.Sync(); return nil }},
	{jobFreeze, freezeStdin},
}

// The names of the jobs.
const (
	jobSync   = "sync"
	jobFreeze = "freeze"
)

// JobCommand runs this very program as a child that does a job, for a program whose main begins with RunJob.
var JobCommand = []string{"/proc/self/exe", jobArgument}

const jobArgument = "job"

// RunJob does what JobCommand is for and ends the program, if it was started for that. The exit status is an errno, or 0.
func RunJob() {
	args := Args()
	if len(args) != len(JobCommand)+1 || args[1] != jobArgument {
		return
	}
	for _, job := range jobs {
		if job.name == args[len(JobCommand)] {
			errno, _ := job.do().(unix.Errno)
			unix.Exit(int(errno))
		}
	}
	unix.Exit(int(unix.EINVAL))
}

// startJob starts a child that does a job with stdin.
func (a *Agent) startJob(child *reactor.Child, job string, stdin int, h reactor.ChildHandler) error {
	args := append(a.cfg.JobCommand[:len(a.cfg.JobCommand):len(a.cfg.JobCommand)], job)
	return a.loop.Spawn(child, &reactor.Command{Path: args[0], Args: args, Files: [3]int{stdin, a.log.fd, a.log.fd}}, h)
}

// jobErrno is how a job ended.
func jobErrno(status unix.WaitStatus) unix.Errno {
	if status.Signaled() {
		return unix.EINTR
	}
	return unix.Errno(status.ExitStatus())
}
