package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// startFailure is why a process was not started, and how far it came.
type startFailure struct {
	stage framing.StartStage
	err   error // wraps the errno
}

// errno is the errno that it wraps, or 0.
//
//go:noinline
func (f *startFailure) errno() unix.Errno { return sys.ErrnoOf(f.err) }

// code is the exit code that a shell has for it.
func (f *startFailure) code() int32 {
	if f.errno() == unix.ENOENT && f.stage == framing.StageExec {
		return 127
	}
	return 126
}

// start handles a start. payload is not kept.
func (c *conn) start(seq uint32, payload []byte) {
	var req framing.Start
	if err := framing.ParseStart(payload, &req); err != nil {
		c.replyError(seq, err.Error())
		return
	}
	a := c.agent
	if a.session(req.ID) != nil {
		c.replyError(seq, "process id is in use")
		return
	}
	if !c.mayOpen(seq) || !c.mayRun(seq) {
		return
	}
	if limit := a.cfg.Limits.Kept; req.KeepMS != 0 && a.keptSessions() >= int(limit) {
		c.replyError(seq, "too many kept processes (limit "+sys.Num(limit)+")")
		return
	}
	a.garbage.Collect(commandGarbage + sessionGarbage + 4*len(payload))
	c.heavy++
	s := &session{process: process{agent: a, kind: framing.KindStart}, id: req.ID, keep: req.KeepMS, cap: req.Cap, terminal: req.Terminal}
	if s.tellHeld = req.More; s.tellHeld {
		s.patience = time.Duration(req.WaitMS)*time.Millisecond + 1 // which is not 0
		if req.WaitMS == framing.WaitForEnd {
			s.patience = waitForEnd
		}
	}
	if failure := s.begin(&req); failure != nil {
		a.log.Warn("process not started", "conn", sys.Num(c.id), "seq", sys.Num(seq), "error", failure.err.Error())
		c.reply(framing.AppendExited(c.stream.Space(exitedRoom), seq, failure.exited()))
		return
	}
	if a.log.Enabled(LevelDebug) {
		a.log.Debug("process started", "conn", sys.Num(c.id), "seq", sys.Num(seq), "pid", sys.Num(s.pid))
	}
	s.have(c, seq)
	s.push()
}

// keptSessions is how many sessions are kept.
func (a *Agent) keptSessions() (n int) {
	for _, s := range a.sessions {
		if s.kept() {
			n++
		}
	}
	return n
}

// exited is the receipt of what was not started.
func (f *startFailure) exited() *framing.Exited {
	r := framing.Exited{Reason: framing.ReasonNotStarted, Stage: f.stage, Code: f.code(), Errno: uint32(unix.EINVAL)}
	if errno := f.errno(); errno != 0 {
		r.Errno = uint32(errno)
	}
	r.Message = []byte(sys.Clip(whyNotStarted(f.err), maxText))
	return &r
}

// begin spawns it. After a failure nothing is left of it.
func (s *session) begin(req *framing.Start) *startFailure {
	a := s.agent
	s.owner = s
	for word := range req.Args.All {
		if s.named == 0 {
			s.call(word)
		} else {
			s.more(word)
		}
	}
	acc, err := launch.FindAccount(string(req.User), a.root)
	if err != nil {
		return &startFailure{framing.StageUser, err}
	}
	spec := reactor.Command{Dir: string(req.Dir), User: acc.User, Terminal: req.Terminal, Tell: true}
	spec.Env = a.env.For(&acc, req)
	for limit := range req.Limits.All {
		spec.Limits = append(spec.Limits, reactor.Limit{Resource: int(limit.Resource), Soft: limit.Soft, Hard: limit.Hard})
	}
	if req.Shell {
		for word := range req.Args.All {
			spec.Path, spec.Args = shell, shellArgs(string(word))
		}
	} else {
		spec.Args = make([]string, 0, req.Args.Len())
		for word := range req.Args.All {
			spec.Args = append(spec.Args, string(word))
		}
		spec.Path, spec.Search = spec.Args[0], a.env.SearchPath(spec.Env)
	}
	var child [3]int
	if failure := s.openStreams(req, &child, acc.User); failure != nil {
		s.closeStreams(&child)
		return failure
	}
	spec.Files = child
	failure := s.run(&spec)
	s.closeChild(&child)
	if failure != nil {
		s.closeStreams(&child)
		return failure
	}
	a.sessions = append(a.sessions, s)
	s.out[0].resume(0, req.OutputCredit)
	s.out[1].resume(0, req.ErrorsCredit)
	s.limitTime(req.TimeoutMS)
	return nil
}

// run spawns what is described.
func (s *session) run(spec *reactor.Command) *startFailure {
	s.cgroup = s.agent.contain.Take()
	s.peak.Open(s.cgroup)
	if err := s.spawn(spec); err != nil {
		f := failedStart(err)
		switch f.errno() {
		case unix.EMFILE, unix.ENFILE:
			f.stage = framing.StageResources // the pipe that tells of the start
		case unix.E2BIG, unix.EINVAL:
		default:
			f.stage = framing.StageFork
		}
		return f
	}
	s.launching = true
	return nil
}

// started implements [processOwner].
func (s *session) started() {
	s.launching = false
	s.out[0].interest()
	s.out[1].interest()
	s.push()
}

// notStarted implements [processOwner]: exited is all that its connection hears of it.
func (s *session) notStarted(f *startFailure) {
	s.agent.log.Warn("process not started", "seq", sys.Num(s.seq), "error", f.err.Error())
	if c := s.conn; c != nil {
		c.closeChannel(s)
		c.replyLater(framing.AppendExited(nil, s.seq, f.exited()))
		s.conn = nil
	}
	s.forget()
}

// failedStart is the failure with the stage that its operation tells.
func failedStart(err error) *startFailure {
	f := &startFailure{framing.StageExec, err}
	e, _ := err.(*reactor.Error)
	switch e.Op {
	case reactor.OpFork:
		f.stage = framing.StageFork
	case reactor.OpTerminal:
		f.stage = framing.StageTerminal
	case reactor.OpLimits:
		f.stage = framing.StageLimits
	case reactor.OpUser:
		f.stage = framing.StageUser
	case reactor.OpDirectory:
		f.stage = framing.StageDirectory
	}
	return f
}

// openStreams makes what the process has as its descriptors 0, 1 and 2, which are the caller's, and our ends of them.
func (s *session) openStreams(req *framing.Start, child *[3]int, user *reactor.User) *startFailure {
	*child = [3]int{-1, -1, -1}
	s.in.session = s
	for i := range s.out {
		s.out[i] = outlet{session: s, stream: framing.Stream(i + 1), ended: true}
	}
	if req.Terminal {
		return s.openTerminal(req, child, user)
	}
	var p [2]int
	if child[0] = s.agent.null; req.Stdin {
		if failure := openPipe(&p, user); failure != nil {
			return failure
		}
		// Only our end: a process does not expect an input that is not ready.
		unix.SetNonblock(p[1], true)
		child[0] = p[0]
		s.in.asked = true
		s.in.open(p[1])
	}
	for i := range s.out {
		if i == 1 && req.Merge {
			child[2] = child[1]
			break
		}
		if failure := openPipe(&p, user); failure != nil {
			return failure
		}
		unix.SetNonblock(p[0], true)
		child[1+i] = p[1]
		s.out[i].open(p[0])
	}
	return nil
}

// openPipe makes a pipe, which is the user's: its process may open /dev/stdout and the like.
func openPipe(p *[2]int, user *reactor.User) *startFailure {
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return &startFailure{framing.StageResources, sys.NewError("pipe", "process", err)}
	}
	if user == nil {
		return nil
	}
	if err := unix.Fchown(p[0], int(user.UID), int(user.GID)); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return &startFailure{framing.StageResources, sys.NewError("fchown", "pipe", err)}
	}
	return nil
}

// openTerminal makes all three of them a terminal, which is the user's.
func (s *session) openTerminal(req *framing.Start, child *[3]int, user *reactor.User) *startFailure {
	master, slave, err := launch.OpenTerminal(req.Rows, req.Columns)
	if err != nil {
		return &startFailure{framing.StageTerminal, err}
	}
	*child = [3]int{slave, slave, slave}
	s.line = slave
	launch.SetModes(slave, &req.Modes)
	s.out[0].open(master)
	if user != nil {
		if err := unix.Fchown(slave, int(user.UID), -1); err != nil {
			return &startFailure{framing.StageTerminal, sys.NewError("fchown", "terminal", err)}
		}
	}
	if req.Stdin {
		// Another descriptor of the same, for a loop waits for one thing at a time on each.
		fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return &startFailure{framing.StageResources, sys.NewError("dup", "terminal", err)}
		}
		s.in.asked = true
		s.in.open(fd)
	}
	return nil
}

// closeChild closes the process's own ends, but for a terminal.
func (s *session) closeChild(child *[3]int) {
	for i, fd := range child {
		shared := fd == s.agent.null || fd == s.line || i > 0 && fd == child[i-1]
		if fd >= 0 && !shared {
			unix.Close(fd)
		}
	}
	*child = [3]int{-1, -1, -1}
}

// closeStreams is the end of what was not started.
func (s *session) closeStreams(child *[3]int) {
	s.closeChild(child)
	s.closeLine()
	s.forgotten = true
	s.in.close()
	s.out[0].release(true)
	s.out[1].release(true)
	s.peak.Close()
	s.leaveCgroup()
}

// longStart gathers the payload of a start. What is too long to be run is answered as the kernel would, unread.
func (c *conn) longStart(p *framing.Part) {
	switch {
	case p.Size > maxExec:
		if p.Last() {
			c.tooLong(p.Seq, unix.E2BIG, framing.StageExec)
		}
	case !c.gather(p):
	case c.long == nil:
		c.tooLong(p.Seq, unix.ENOMEM, framing.StageResources)
	default:
		c.start(p.Seq, c.long[:p.Size])
		c.unmapLong()
	}
}

func (c *conn) tooLong(seq uint32, errno unix.Errno, stage framing.StartStage) {
	if !c.mayOpen(seq) {
		return
	}
	f := startFailure{stage, sys.NewError("exec", "process", errno)}
	c.reply(framing.AppendExited(c.stream.Space(exitedRoom), seq, f.exited()))
}

// closeLine lets go of the process's side of the terminal. Until the process has exited it is not left to those who have it open: one that
// runs on without any of them may open /dev/tty again, and when our side is closed, which would then be at its end, it gets SIGHUP.
func (s *session) closeLine() {
	if s.line != 0 {
		unix.Close(s.line)
		s.line = 0
	}
}
