package session

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// start starts a process. It does not keep payload.
func (svc *Service) start(c *wire.Conn, seq uint32, payload []byte) error {
	var req framing.Start
	if err := framing.ParseStart(payload, &req); err != nil {
		return err
	}
	switch {
	case framing.ReservedID(req.ID):
		return errors.New("process id is reserved")
	case svc.find(req.ID) != nil:
		return errors.New("process id is in use")
	}
	if !c.MayOpen(seq) {
		return nil
	}
	if err := svc.mayStart(&req); err != nil {
		return err
	}
	svc.Garbage.Collect(startGarbage + 4*len(payload))
	c.Heavy()
	s := &session{
		service: svc, id: req.ID, keepMS: req.KeepMS, outputCap: req.Cap, terminal: req.Terminal,
		loose: req.Loose && req.KeepMS != 0,
	}
	s.process.Kind, s.counted = framing.KindStart, c.Accounts
	if s.reportHeld = req.More; s.reportHeld {
		s.process.Patience = time.Duration(req.WaitMS)*time.Millisecond + 1 // never 0
		if req.WaitMS == framing.WaitForEnd {
			s.process.Patience = launch.WaitForEnd
		}
	}
	if failure := s.open(&req); failure != nil {
		svc.Log.Warn("process not started", "conn", sys.Num(c.ID()), "seq", sys.Num(seq),
			"error", failure.Err.Error())
		c.Reply(framing.AppendExited(c.Space(exitedRoom), seq, notStarted(failure)))
		return nil
	}
	if svc.Log.Enabled(log.LevelDebug) {
		svc.Log.Debug("process started", "conn", sys.Num(c.ID()), "seq", sys.Num(seq),
			"pid", sys.Num(s.process.PID()))
	}
	s.bind(c, seq)
	s.queue()
	return nil
}

// notStarted returns the receipt of a process that was not started.
func notStarted(f *launch.Failure) *framing.Exited {
	r := framing.Exited{
		Reason: framing.ReasonNotStarted, Stage: f.Stage, Code: f.Code(),
		Errno: uint32(unix.EINVAL),
	}
	if errno := f.Errno(); errno != 0 {
		r.Errno = uint32(errno)
	}
	r.Message = []byte(sys.Clip(launch.Reason(f.Err), wire.MaxText))
	return &r
}

// Command returns the command that req asks for, without descriptors.
func (svc *Service) Command(req *framing.Start) (spec reactor.Command, failure *launch.Failure) {
	user := string(req.User)
	if user == "" {
		user = svc.Env.Defaults.User
	}
	acc, err := launch.FindAccount(user, svc.Root)
	if err != nil {
		return spec, &launch.Failure{Stage: framing.StageUser, Err: err}
	}
	spec = reactor.Command{Dir: string(req.Dir), Terminal: req.Terminal, Tell: true}
	for limit := range req.Limits.All {
		l := reactor.Limit{Resource: int(limit.Resource), Soft: limit.Soft, Hard: limit.Hard}
		spec.Limits = append(spec.Limits, l)
	}
	svc.Env.Apply(&spec, &acc)
	spec.Env = svc.Env.For(&acc, req.Env, req.Only)
	if req.Shell {
		for word := range req.Args.All {
			spec.Path, spec.Args = launch.Shell, launch.ShellArgs(string(word))
		}
	} else {
		spec.Args = make([]string, 0, req.Args.Len())
		for word := range req.Args.All {
			spec.Args = append(spec.Args, string(word))
		}
		spec.Path, spec.Search = spec.Args[0], svc.Env.SearchPath(spec.Env)
	}
	return spec, nil
}

// open forks the process. After a failure the session holds nothing.
func (s *session) open(req *framing.Start) *launch.Failure {
	svc := s.service
	s.process.Owner = s
	for word := range req.Args.All {
		s.process.AddName(word)
	}
	spec, failure := svc.Command(req)
	if failure != nil {
		return failure
	}
	var child [3]int
	if failure = s.openStreams(req, &child, spec.User); failure != nil {
		s.abortStart(&child)
		return failure
	}
	spec.Files = child
	failure = s.confine(&spec, req.Confinement)
	if failure == nil {
		failure = s.spawn(&spec)
	}
	s.closeChild(&child)
	if failure != nil {
		s.abortStart(&child)
		return failure
	}
	svc.sessions = append(svc.sessions, s)
	s.out[0].resumeAt(0, req.OutputCredit)
	s.out[1].resumeAt(0, req.ErrorsCredit)
	s.process.SetDeadline(req.TimeoutMS)
	return nil
}

// confine has spec start the process as c says, if c says anything.
func (s *session) confine(spec *reactor.Command, c framing.Confinement) *launch.Failure {
	if !c.Any() {
		return nil
	}
	master := -1
	if s.terminal {
		master = s.out[0].pipe.FD()
	}
	for e := range c.All {
		if e.Kind == framing.ConfineLimit {
			limit := [2]string{string(e.Texts[0]), string(e.Texts[1])}
			s.extra.Limits = append(s.extra.Limits, limit)
		}
	}
	failure := launch.Confine(spec, c, master, s.service.namespacesOf)
	if r := spec.Confinement; failure == nil {
		s.namespaces = r.Namespaces | r.Joined
	}
	return failure
}

// namespacesOf returns the pidfd of the running process with that id, and the CLONE_NEW flags of
// the namespaces that are not the agent's. pidfd is 0 without such a process.
func (svc *Service) namespacesOf(id uint64) (pidfd int, namespaces uintptr) {
	p := svc.find(id)
	if p == nil || p.state == launching || p.process.HasExited() {
		return 0, 0
	}
	return p.process.Pidfd(), p.namespaces
}

// spawn forks the process that spec describes.
func (s *session) spawn(spec *reactor.Command) *launch.Failure {
	if s.counted {
		s.process.TakeCountingBox(s.service.Table)
	} else {
		s.process.TakeBox(s.service.Table)
	}
	for _, limit := range s.extra.Limits {
		if err := s.process.Box.Restrict(limit[0], limit[1]); err != nil {
			return &launch.Failure{Stage: framing.StageLimits, Err: err}
		}
	}
	s.peak.Open(s.process.Box)
	if err := s.process.Spawn(s.service.Table, spec); err != nil {
		f := launch.NewFailure(err)
		switch errno := f.Errno(); {
		case f.Stage == framing.StageNamespace:
		case errno == unix.EMFILE, errno == unix.ENFILE:
			f.Stage = framing.StageResources // the pipe that reports the execve
		case errno == unix.E2BIG, errno == unix.EINVAL:
		default:
			f.Stage = framing.StageFork
		}
		return f
	}
	return nil
}

// Started implements [launch.Owner].
func (s *session) Started() {
	if s.state != launching {
		return
	}
	s.state = active
	if s.watcher != nil {
		s.takeOver()
		s.watcher.Started(s.process.PID())
	}
	s.updateInterest()
	s.queue()
}

// NotStarted implements [launch.Owner]. The connection gets no frame of the session but exited.
func (s *session) NotStarted(f *launch.Failure) {
	s.service.Log.Warn("process not started", "seq", sys.Num(s.seq), "error", f.Err.Error())
	if c := s.conn; c != nil {
		c.CloseChannel(s)
		c.ReplyLater(framing.AppendExited(nil, s.seq, notStarted(f)))
		s.conn = nil
	}
	s.close()
	if s.watcher != nil {
		s.watcher.NotStarted(f)
	}
}

// openStreams opens the streams of the process. The caller owns child, the process's descriptors 0,
// 1 and 2. The session owns the other ends.
func (s *session) openStreams(
	req *framing.Start, child *[3]int, user *reactor.User,
) *launch.Failure {
	*child = [3]int{-1, -1, -1}
	s.in.session = s
	for i := range s.out {
		s.out[i] = outlet{session: s, stream: framing.Stream(i + 1), ended: true}
	}
	if s.extra.Console {
		return s.openConsole(child)
	}
	if req.Terminal {
		return s.openTerminal(req, child, user)
	}
	var p [2]int
	if child[0] = s.service.Null; req.Stdin {
		if failure := openPipe(&p, user); failure != nil {
			return failure
		}
		// Only the write end is non-blocking: programs do not expect EAGAIN on their input.
		unix.SetNonblock(p[1], true)
		child[0] = p[0]
		s.in.present = true
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

// noResources returns the failure of an operation for want of descriptors or memory.
func noResources(op, object string, err error) *launch.Failure {
	return &launch.Failure{Stage: framing.StageResources, Err: sys.NewError(op, object, err)}
}

// openPipe opens a pipe that user owns, so that the process can open /dev/stdout and the like.
func openPipe(p *[2]int, user *reactor.User) *launch.Failure {
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return noResources("pipe", "process", err)
	}
	if user == nil {
		return nil
	}
	if err := unix.Fchown(p[0], int(user.UID), int(user.GID)); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return noResources("fchown", "pipe", err)
	}
	return nil
}

// openTerminal opens a terminal that user owns, for all three streams.
func (s *session) openTerminal(
	req *framing.Start, child *[3]int, user *reactor.User,
) *launch.Failure {
	master, slave, err := launch.OpenTerminal(req.Rows, req.Columns)
	if err != nil {
		return &launch.Failure{Stage: framing.StageTerminal, Err: err}
	}
	*child = [3]int{slave, slave, slave}
	s.slave = slave
	launch.SetModes(slave, &req.Modes)
	s.out[0].open(master)
	if user != nil {
		if err := unix.Fchown(slave, int(user.UID), -1); err != nil {
			err = sys.NewError("fchown", "terminal", err)
			return &launch.Failure{Stage: framing.StageTerminal, Err: err}
		}
	}
	if req.Stdin {
		// Input gets a descriptor of its own, because it is polled independently of output.
		fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return noResources("dup", "terminal", err)
		}
		s.in.present = true
		s.in.open(fd)
	}
	return nil
}

// openConsole opens the console of the machine for all three streams.
func (s *session) openConsole(child *[3]int) *launch.Failure {
	const name = "/dev/console"
	// The open must not wait for a carrier.
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &launch.Failure{Stage: framing.StageTerminal, Err: sys.NewError("open", name, err)}
	}
	unix.SetNonblock(fd, false)
	*child = [3]int{fd, fd, fd}
	s.slave = fd
	return nil
}

// closeChild closes the process's ends of its streams, except a terminal.
func (s *session) closeChild(child *[3]int) {
	for i, fd := range child {
		shared := fd == s.service.Null || fd == s.slave || i > 0 && fd == child[i-1]
		if fd >= 0 && !shared {
			unix.Close(fd)
		}
	}
	*child = [3]int{-1, -1, -1}
}

// abortStart releases what a failed start has opened.
func (s *session) abortStart(child *[3]int) {
	s.closeChild(child)
	s.closeSlave()
	s.state = closed
	s.in.close()
	s.out[0].release(true)
	s.out[1].release(true)
	s.peak.Close()
	s.process.ReturnBox()
}

// startParts handles a part of a start. A payload that is too long for the kernel is not stored.
func (svc *Service) startParts(c *wire.Conn, p *framing.Part) (err error) {
	seq := p.Seq
	switch {
	case p.First() && p.Last():
		return svc.start(c, seq, p.Data)
	case p.Size > wire.MaxGathered:
		if p.Last() {
			tooLong(c, seq, unix.E2BIG, framing.StageExec)
		}
		return nil
	}
	c.Gather(p, func(payload []byte) {
		if payload == nil {
			tooLong(c, seq, unix.ENOMEM, framing.StageResources)
		} else {
			err = svc.start(c, seq, payload)
		}
	})
	return err
}

// tooLong answers a start whose payload was not stored.
func tooLong(c *wire.Conn, seq uint32, errno unix.Errno, stage framing.StartStage) {
	if c.MayOpen(seq) {
		f := launch.Failure{Stage: stage, Err: sys.NewError("exec", "process", errno)}
		c.Reply(framing.AppendExited(c.Space(exitedRoom), seq, notStarted(&f)))
	}
}

// closeSlave closes the process's side of the terminal. It stays open until the exit: if the last
// descriptor were closed earlier, the terminal would hang up, although the process may open
// /dev/tty again.
func (s *session) closeSlave() {
	if s.slave != 0 {
		unix.Close(s.slave)
		s.slave = 0
	}
}
