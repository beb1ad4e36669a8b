package launch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Failure is why a process was not started, and how far it came.
type Failure struct {
	Stage framing.StartStage
	Err   error // wraps the errno
}

// NewFailure returns the failure of a spawn. The stage is that of the operation that failed.
func NewFailure(err error) *Failure {
	f := &Failure{framing.StageExec, err}
	e, _ := err.(*reactor.Error)
	switch e.Op {
	case reactor.OpFork:
		f.Stage = framing.StageFork
	case reactor.OpTerminal:
		f.Stage = framing.StageTerminal
	case reactor.OpLimits:
		f.Stage = framing.StageLimits
	case reactor.OpUser:
		f.Stage = framing.StageUser
	case reactor.OpDirectory:
		f.Stage = framing.StageDirectory
	}
	return f
}

// Errno returns the errno that Err wraps, or 0.
func (f *Failure) Errno() unix.Errno { return sys.ErrnoOf(f.Err) }

// Code returns the exit code that a shell has for it.
func (f *Failure) Code() int32 {
	if f.Stage == framing.StageExec {
		return ExitCode(f.Err)
	}
	return 126
}

// ExitCode returns the exit code that a shell has for a program that could not be executed.
func ExitCode(err error) int32 {
	if sys.IsErrno(err, unix.ENOENT) {
		return 127
	}
	return 126
}

// Reason returns why a process was not started, in words. The kernel's words for an argument that is too
// long do not say how long it may be.
func Reason(err error) string {
	if sys.IsErrno(err, unix.E2BIG) {
		return err.Error() + ": a command, an argument and an environment entry have at most 131071 bytes, and all of them 256 KiB"
	}
	return err.Error()
}
