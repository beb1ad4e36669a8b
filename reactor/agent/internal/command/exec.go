package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// exec handles a part of an exec or spawn_watch. It checks a payload that is too long for the
// kernel, but does not store it.
func (s *Service) exec(c *wire.Conn, p *framing.Part) (err error) {
	t, seq := p.Type, p.Seq
	switch {
	case p.First() && p.Last():
		return s.start(c, t, seq, p.Data)
	case p.Size > wire.MaxGathered:
		return s.tooLong(c, p)
	}
	c.Gather(p, func(payload []byte) {
		if payload == nil {
			s.notStarted(c, t, seq, sys.NewError("mmap", "command", unix.ENOMEM))
		} else {
			err = s.start(c, t, seq, payload)
		}
	})
	return err
}

// checker is a request that is checked and not stored.
type checker struct{ framing.ExecChecker }

// Drop implements [wire.Request].
func (*checker) Drop() {}

// tooLong checks the parts of a payload, and answers the last with the kernel's E2BIG.
func (s *Service) tooLong(c *wire.Conn, p *framing.Part) error {
	if p.First() {
		check := &checker{}
		check.Reset(p.Type, p.Size)
		c.Request = check
	}
	check := c.Request.(*checker)
	check.Check(p.Data)
	if !p.Last() {
		return nil
	}
	c.Request = nil
	if err := check.Finish(); err != nil {
		return err
	}
	s.notStarted(c, p.Type, p.Seq, sys.NewError("exec", launch.Shell, unix.E2BIG))
	return nil
}

// start starts a command. It does not keep payload.
func (s *Service) start(c *wire.Conn, t framing.Type, seq uint32, payload []byte) error {
	var e framing.Exec
	if err := framing.ParseExec(t, payload, &e); err != nil {
		return err
	}
	if s.Table.Full() {
		return s.Table.ErrFull()
	}
	streamed := e.Stream || len(e.Log) > 0
	if len(e.Log) > 0 && s.Disk.Held() {
		return files.ErrFrozen
	}
	s.Garbage.Collect(commandGarbage + 4*len(payload))
	cmd := s.newCommand()
	cmd.conn, cmd.seq = c, seq
	cmd.process.Kind = framing.KindExec
	if t == framing.TypeSpawnWatch {
		cmd.process.Kind = framing.KindSpawnWatch
	}
	cmd.process.AddName(e.Command)
	acc, err := s.account(&e)
	if err != nil {
		s.notStarted(c, t, seq, err)
		return nil
	}
	spec := reactor.Command{
		Path: launch.Shell, Args: launch.ShellArgs(string(e.Command)),
		Env: s.Env.For(&acc, e.Env, false), Tell: cmd.watch(),
	}
	s.Env.Apply(&spec, &acc)
	if e.Root && !s.Root {
		s.Env.ThroughSudo(&spec, e.Env)
	}
	if err := cmd.start(&spec); err != nil {
		s.notStarted(c, t, seq, err)
		return nil
	}
	if streamed {
		cmd.stdout.chunks = newChunks(cmd, string(e.Log))
	}
	cmd.process.SetDeadline(e.TimeoutMS)
	c.Heavy()
	if s.Log.Enabled(log.LevelDebug) {
		s.Log.Debug("command started", "conn", sys.Num(c.ID()), "seq", sys.Num(seq),
			"pid", sys.Num(cmd.process.PID()))
	}
	return nil
}

// account returns the account of a command: the agent's own if it is to run as root.
func (s *Service) account(e *framing.Exec) (acc launch.Account, err error) {
	if !e.Root {
		acc, err = launch.FindAccount(s.Env.Defaults.User, s.Root)
	}
	if err != nil {
		// A missing account is no missing program.
		err = &sys.WordedError{Errno: unix.EINVAL, Words: err.Error()}
	}
	return acc, err
}

// notStarted answers a request whose command was not started.
func (s *Service) notStarted(c *wire.Conn, t framing.Type, seq uint32, err error) {
	c.Reply(s.appendNotStarted(c, c.Space(framing.HeaderSize+12+wire.MaxText), t, seq, err))
}

// appendNotStarted appends that answer to dst. An exec gets a result as a shell would report it,
// and a spawn_watch an error.
func (s *Service) appendNotStarted(
	c *wire.Conn, dst []byte, t framing.Type, seq uint32, err error,
) []byte {
	s.Log.Warn("command not started", "conn", sys.Num(c.ID()), "seq", sys.Num(seq),
		"error", err.Error())
	s.Garbage.Collect(commandGarbage)
	reason := sys.Clip(launch.Reason(err), wire.MaxText)
	if t == framing.TypeSpawnWatch {
		return framing.AppendError(dst, seq, reason)
	}
	r := framing.ExecResult{ExitCode: launch.ExitCode(err), Stderr: []byte(reason)}
	return framing.AppendExecResult(dst, seq, &r)
}
