package launch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Failure reports why a process was not started, and at which stage.
type Failure struct {
	Stage framing.StartStage
	Err   error // wraps the errno
}

// NewFailure returns the failure of a spawn. err is a *reactor.Error, whose operation is the stage.
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
	case reactor.OpNamespace:
		f.Stage = framing.StageNamespace
	case reactor.OpMount:
		f.Stage = framing.StageMount
	case reactor.OpRoot:
		f.Stage = framing.StageRoot
	case reactor.OpCapabilities:
		f.Stage = framing.StageCapabilities
	case reactor.OpSeccomp:
		f.Stage = framing.StageSeccomp
	}
	return f
}

// Errno returns the errno that Err wraps; 0 if none.
func (f *Failure) Errno() unix.Errno { return sys.ErrnoOf(f.Err) }

// Code returns the exit code that a shell would report.
func (f *Failure) Code() int32 {
	if f.Stage == framing.StageExec {
		return ExitCode(f.Err)
	}
	return 126
}

// ExitCode returns the exit code that a shell reports for a program that it cannot execute.
func ExitCode(err error) int32 {
	e, ok := err.(*reactor.Error)
	if sys.IsErrno(err, unix.ENOENT) && (!ok || e.Op == reactor.OpExec) {
		return 127
	}
	return 126
}

// Reason returns why a process was not started, in words. For E2BIG it adds the limits, which the
// kernel's message leaves out.
func Reason(err error) string {
	if sys.IsErrno(err, unix.E2BIG) {
		return err.Error() + ": a command, an argument and an environment entry have at most " +
			"131071 bytes, and all of them 256 KiB"
	}
	return err.Error()
}
