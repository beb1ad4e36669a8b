package launch

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Job is what takes as long as a disk does. A child that runs this very program does it, so that the agent
// never waits for a disk.
type Job struct {
	Name string
	// Do does it, with an argument. Descriptor 0 is what it is about. It returns nil or an errno.
	Do func(argument string) error
}

// JobCommand runs this very program as a child that does a job, for a program whose main begins with RunJob.
var JobCommand = []string{"/proc/self/exe", jobArgument}

const jobArgument = "job"

// RunJob does a job and ends the program, if it was started for that. The exit status is an errno, or 0.
func RunJob(jobs ...Job) {
	args := sys.Args()
	if len(args) != len(JobCommand)+2 || args[1] != jobArgument {
		return
	}
	for _, job := range jobs {
		if job.Name == args[2] {
			errno, _ := job.Do(args[3]).(unix.Errno)
			unix.Exit(int(errno))
		}
	}
	unix.Exit(int(unix.EINVAL))
}

// Jobs starts children that do jobs.
type Jobs struct {
	// Command is the program and its first arguments. It is empty if jobs cannot be started.
	Command []string
	Loop    *reactor.Loop
	Log     *log.Log
}

// Start starts a child that does a job, with stdin and stdout as the job wants them. stderr is the log's.
func (j *Jobs) Start(child *reactor.Child, name, argument string, stdin, stdout int, h reactor.ChildHandler) error {
	if len(j.Command) == 0 {
		return sys.NewError("job", name, unix.ENOSYS)
	}
	args := append(j.Command[:len(j.Command):len(j.Command)], name, argument)
	return j.Loop.Spawn(child, &reactor.Command{Path: args[0], Args: args, Files: [3]int{stdin, stdout, j.Log.FD()}}, h)
}

// JobErrno returns how a job ended; EINTR if a signal ended it.
func JobErrno(child *reactor.Child, status unix.WaitStatus) unix.Errno {
	if errno := sys.ErrnoOf(child.Failure()); errno != 0 {
		return errno
	}
	if status.Signaled() {
		return unix.EINTR
	}
	return unix.Errno(status.ExitStatus())
}
