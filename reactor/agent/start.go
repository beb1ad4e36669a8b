package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// startFailure is why a process was not started, and how far it came.
type startFailure struct {
	stage framing.StartStage
	err   error // wraps the errno
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
		c.replyError(seq, "too many kept processes (limit "+num(limit)+")")
		return
	}
	a.collect(commandGarbage + sessionGarbage + 4*len(payload))
	c.heavy++
	s := &session{process: process{agent: a, kind: framing.KindStart}, id: req.ID, keep: req.KeepMS, cap: req.Cap, terminal: req.Terminal}
	if s.tellHeld = req.More; s.tellHeld {
		s.patience = time.Duration(req.WaitMS)*time.Millisecond + 1 // which is not 0
		if req.WaitMS == framing.WaitForEnd {
			s.patience = waitForEnd
		}
	}
	if failure := s.begin(&req); failure != nil {
		a.log.Warn("process not started", "conn", num(c.id), "seq", num(seq), "error", failure.err.Error())
		c.reply(framing.AppendExited(c.stream.Space(exitedRoom), seq, failure.exited()))
		return
	}
	if a.log.Enabled(LevelDebug) {
		a.log.Debug("process started", "conn", num(c.id), "seq", num(seq), "pid", num(s.pid))
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
	r := framing.Exited{Reason: framing.ReasonNotStarted, Stage: f.stage, Code: 126, Errno: uint32(unix.EINVAL)}
	if e, ok := f.err.(*reactor.Error); ok {
		r.Errno = uint32(e.Errno)
	}
	if r.Errno == uint32(unix.ENOENT) && f.stage == framing.StageExec {
		r.Code = 127
	}
	r.Message = []byte(clip(whyNotStarted(f.err), maxText))
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
	acc, err := a.findAccount(string(req.User))
	if err != nil {
		return &startFailure{framing.StageUser, err}
	}
	spec := reactor.Command{Dir: string(req.Dir), User: acc.user, Terminal: req.Terminal}
	env := a.startEnv(&acc, req)
	spec.Env = env
	if env == nil {
		env = a.env
	}
	dir := unix.AT_FDCWD
	if spec.Dir != "" {
		if dir, err = unix.Open(spec.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return &startFailure{framing.StageDirectory, opError("chdir", spec.Dir, err)}
		}
		defer unix.Close(dir)
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
		spec.Path = findProgram(dir, spec.Args[0], env, spec.User)
	}
	var child [3]int
	if failure := s.openStreams(req, &child, acc.user); failure != nil {
		s.closeStreams(&child)
		return failure
	}
	spec.Files = child
	failure := s.run(&spec, req)
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

// run spawns what is described, through a stage if it asks for limits.
func (s *session) run(spec *reactor.Command, req *framing.Start) *startFailure {
	a := s.agent
	s.cgroup = a.contain.take(a.log)
	s.peak.open(s.cgroup)
	if req.Limits.Len() > 0 {
		return s.launch.begin(s, spec, req.Limits)
	}
	err := s.spawn(spec)
	if err == nil {
		return nil
	}
	e, _ := err.(*reactor.Error)
	return &startFailure{a.stageOf(e.Errno, spec), err}
}

// stageOf is the stage at which a spawn failed. The kernel's errno does not tell, so the stages are gone through again, each
// time with a program that cannot be: whatever another errno than that one's comes from is what failed.
func (a *Agent) stageOf(errno unix.Errno, spec *reactor.Command) framing.StartStage {
	if errno == unix.EMFILE || errno == unix.ENFILE {
		return framing.StageResources // the pipe for what fails after the fork
	}
	probe := reactor.Command{Args: []string{""}, Files: spec.Files}
	passes := func() bool {
		var child reactor.Child
		return isErrno(a.loop.Spawn(&child, &probe, nil), unix.ENOENT)
	}
	if !passes() {
		return framing.StageFork
	}
	if probe.User = spec.User; probe.User != nil && !passes() {
		return framing.StageUser
	}
	if probe.Dir = spec.Dir; probe.Dir != "" && !passes() {
		return framing.StageDirectory
	}
	if probe.Terminal = spec.Terminal; probe.Terminal {
		// Another one: that of a session that was led by what failed is hung up.
		master, slave, err := openTerminal(0, 0)
		if err != nil {
			return framing.StageTerminal
		}
		defer unix.Close(master)
		defer unix.Close(slave)
		if probe.Files[0] = slave; !passes() {
			return framing.StageTerminal
		}
	}
	return framing.StageExec
}

// defaultPath is where programs are looked for without a PATH; exec(3).
const defaultPath = "/bin:/usr/bin"

// findProgram is the file of a program's name: along the PATH of its environment if there is no slash in it. What is not found is
// the name itself, which will fail to run.
func findProgram(dir int, name string, env []string, user *reactor.User) string {
	if name == "" || lastSlash(name) >= 0 {
		return name
	}
	path, ok := lookupIn(env, "PATH")
	if !ok {
		path = defaultPath
	}
	for more := true; more; {
		var where string
		where, path, more = cut(path, ':')
		if where == "" {
			where = "." // exec(3)
		}
		file := where + "/" + name
		var st unix.Stat_t
		if unix.Fstatat(dir, file, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && mayExecute(&st, user) {
			return file
		}
	}
	return name
}

// mayExecute reports whether the mode lets a user run a file.
func mayExecute(st *unix.Stat_t, u *reactor.User) bool {
	if u == nil {
		u = &reactor.User{UID: uint32(unix.Geteuid()), GID: uint32(unix.Getegid())}
	}
	switch {
	case u.UID == 0:
		return st.Mode&0o111 != 0
	case st.Uid == u.UID:
		return st.Mode&0o100 != 0
	case st.Gid == u.GID:
		return st.Mode&0o010 != 0
	}
	for _, g := range u.Groups {
		if st.Gid == g {
			return st.Mode&0o010 != 0
		}
	}
	return st.Mode&0o001 != 0
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
	fail := func(err error) *startFailure {
		return &startFailure{framing.StageResources, opError("pipe", "process", err)}
	}
	var p [2]int
	if child[0] = s.agent.null; req.Stdin {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return fail(err)
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
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return fail(err)
		}
		unix.SetNonblock(p[0], true)
		child[1+i] = p[1]
		s.out[i].open(p[0])
	}
	return nil
}

// openTerminal makes all three of them a terminal, which is the user's.
func (s *session) openTerminal(req *framing.Start, child *[3]int, user *reactor.User) *startFailure {
	master, slave, err := openTerminal(req.Rows, req.Columns)
	if err != nil {
		return &startFailure{framing.StageTerminal, err}
	}
	*child = [3]int{slave, slave, slave}
	s.line = slave
	setModes(slave, &req.Modes)
	s.out[0].open(master)
	if user != nil {
		if err := unix.Fchown(slave, int(user.UID), -1); err != nil {
			return &startFailure{framing.StageTerminal, opError("fchown", "terminal", err)}
		}
	}
	if req.Stdin {
		// Another descriptor of the same, for a loop waits for one thing at a time on each.
		fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return &startFailure{framing.StageResources, opError("dup", "terminal", err)}
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
	s.launch.close()
	s.peak.close()
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
	f := startFailure{stage, opError("exec", "process", errno)}
	c.reply(framing.AppendExited(c.stream.Space(exitedRoom), seq, f.exited()))
}
