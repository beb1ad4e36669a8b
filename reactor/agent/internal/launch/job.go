package launch

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Job is work that takes as long as a disk does. A child process that runs this program does it, so
// that the agent never waits for a disk.
type Job struct {
	Name string
	// Do does the work in the child, and returns nil or an errno. Descriptor 0 is the file or
	// directory that the job is about.
	Do func(argument string) error
}

// JobCommand starts this program again as a job. The program's main must begin with RunJob.
var JobCommand = []string{"/proc/self/exe", jobArgument}

const jobArgument = "job"

// RunJob does the job that the command line names, and exits with its errno or 0. It returns if the
// program was not started as a job.
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

// Jobs starts jobs.
type Jobs struct {
	// Command is the program and its first arguments. If it is empty, no job can be started.
	Command []string
	Loop    *reactor.Loop
	Log     *log.Log
}

// Start starts a job as child. The caller keeps stdin and stdout. stderr is the log's descriptor.
// The error wraps ENOSYS if Command is empty.
func (j *Jobs) Start(
	child *reactor.Child, name, argument string, stdin, stdout int, h reactor.ChildHandler,
) error {
	if len(j.Command) == 0 {
		return sys.NewError("job", name, unix.ENOSYS)
	}
	args := append(j.Command[:len(j.Command):len(j.Command)], name, argument)
	files := [3]int{stdin, stdout, j.Log.FD()}
	return j.Loop.Spawn(child, &reactor.Command{Path: args[0], Args: args, Files: files}, h)
}

// JobErrno returns the errno of a job that has exited: 0 on success, EINTR if a signal ended it.
func JobErrno(child *reactor.Child, status unix.WaitStatus) unix.Errno {
	if errno := sys.ErrnoOf(child.Failure()); errno != 0 {
		return errno
	}
	if status.Signaled() {
		return unix.EINTR
	}
	return unix.Errno(status.ExitStatus())
}
