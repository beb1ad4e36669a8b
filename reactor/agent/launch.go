package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// launch is the start of a process with resource limits. They cannot be the agent's own, not even around the fork: a limit on its memory
// could end it. So the agent's own program is run once more, as the stage in between: it takes the limits on, and everything that comes
// after them, and becomes the process. What fails there it writes to a pipe, which is closed when it has become what it should.
type launch struct {
	session *session
	status  reactor.Descriptor
	retry   reactor.Timer
}

// StartCommand runs this very program as the stage, for a program whose main begins with RunStart.
var StartCommand = []string{"/proc/self/exe", startArgument}

const startArgument = "start-with-limits"

// stageStatus is the descriptor that the stage writes to.
const stageStatus = 3

// begin spawns the stage.
func (l *launch) begin(s *session, spec *reactor.Command, limits framing.Limits) *startFailure {
	a := s.agent
	stage := a.cfg.StartCommand
	if len(stage) == 0 {
		return &startFailure{framing.StageLimits, opError("setrlimit", "process", unix.ENOSYS)}
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return &startFailure{framing.StageResources, opError("pipe", "process", err)}
	}
	defer unix.Close(p[1])
	unix.SetNonblock(p[0], true)
	l.session = s
	a.loop.Attach(&l.status, p[0], l)
	plan := startPlan{path: spec.Path, dir: spec.Dir, user: spec.User, args: spec.Args}
	for limit := range limits.All {
		plan.limits = append(plan.limits, limit)
	}
	env := spec.Env
	if env == nil {
		env = a.env
	}
	stageSpec := reactor.Command{
		Path: stage[0], Args: plan.encode(stage), Env: hidden(env), Files: spec.Files, Status: p[1], Terminal: spec.Terminal,
	}
	if err := s.spawn(&stageSpec); err != nil {
		e, _ := err.(*reactor.Error)
		at := a.stageOf(e.Errno, &stageSpec)
		switch {
		case e.Errno == unix.E2BIG:
			err = opError("exec", spec.Path, e.Errno) // it would be for the program itself, too
		case at == framing.StageExec:
			at = framing.StageLimits // there is no stage
		}
		return &startFailure{at, err}
	}
	l.status.Want(reactor.Read)
	return nil
}

// launching reports whether it is not known yet if it can be started.
func (s *session) launching() bool { return s.launch.status.Open() }

// Ready implements [reactor.Handler].
func (l *launch) Ready(ev reactor.Events) {
	if ev&reactor.Deaf != 0 {
		l.session.agent.loop.Start(&l.retry, deafPause, l)
		return
	}
	l.finish()
}

// Expired implements [reactor.TimerHandler]: epoll is asked again.
func (l *launch) Expired(*reactor.Timer) { l.status.Want(reactor.Read) }

// Failed implements [reactor.Failer].
func (l *launch) Failed(value any, stack []byte) { l.session.Failed(value, stack) }

// finish learns how it went: at the pipe's end it is started.
func (l *launch) finish() {
	s := l.session
	var b [5]byte
	n, err := unix.Read(l.status.FD(), b[:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	l.close()
	if n == len(b) {
		s.notStarted(&startFailure{framing.StartStage(b[0]), stageError(framing.StartStage(b[0]), unix.Errno(uint32(b[1])|uint32(b[2])<<8|uint32(b[3])<<16|uint32(b[4])<<24), s)})
		return
	}
	s.out[0].interest()
	s.out[1].interest()
	s.push()
}

// endLaunch is called when the process has exited, as which it may be that it was never started.
func (s *session) endLaunch() {
	if s.launching() {
		s.launch.finish()
	}
}

// close lets go of the pipe.
func (l *launch) close() {
	l.retry.Stop()
	l.status.Close()
}

// stageError words what failed in the stage.
func stageError(stage framing.StartStage, errno unix.Errno, s *session) error {
	switch stage {
	case framing.StageLimits:
		return opError("setrlimit", "process", errno)
	case framing.StageUser:
		return opError("setuid", "process", errno)
	case framing.StageDirectory:
		return opError("chdir", "process", errno)
	}
	name, _, _ := cut(string(s.name[:s.named]), ' ')
	return opError("exec", name, errno)
}

// notStarted ends a session whose stage failed: exited is all that its connection hears of it.
func (s *session) notStarted(f *startFailure) {
	a := s.agent
	a.log.Warn("process not started", "seq", num(s.seq), "error", f.err.Error())
	if c := s.conn; c != nil {
		c.closeChannel(s)
		c.replyLater(framing.AppendExited(nil, s.seq, f.exited()))
		s.conn = nil
	}
	s.forget()
	a.stepDown()
}
