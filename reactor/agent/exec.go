package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// shell runs every command.
const shell = "/bin/sh"

// exec handles an exec or spawn_watch. payload is not kept.
func (c *conn) exec(t framing.Type, seq uint32, payload []byte) {
	var e framing.Exec
	if err := framing.ParseExec(t, payload, &e); err != nil {
		c.replyError(seq, err.Error())
		return
	}
	a := c.agent
	if !c.mayRun(seq) {
		return
	}
	streamed := e.Stream || len(e.Log) > 0
	if len(e.Log) > 0 && a.isFrozen() {
		c.replyError(seq, errFrozen.Error())
		return
	}
	a.garbage.Collect(commandGarbage + 4*len(payload))
	cmd := &command{process: process{agent: a, kind: framing.KindExec}, conn: c, seq: seq}
	if t == framing.TypeSpawnWatch {
		cmd.kind = framing.KindSpawnWatch
	}
	cmd.call(e.Command)
	spec := reactor.Command{Path: shell, Args: shellArgs(string(e.Command)), Env: a.env.With(e.Env), Tell: cmd.watch()}
	if e.Root && !a.root {
		a.throughSudo(&spec, e.Env)
	}
	if err := cmd.start(&spec); err != nil {
		c.notStarted(t, seq, err)
		return
	}
	if streamed {
		cmd.stdout.chunks = newChunks(cmd, string(e.Log))
	}
	cmd.limitTime(e.TimeoutMS)
	c.heavy++
	if a.log.Enabled(LevelDebug) {
		a.log.Debug("command started", "conn", sys.Num(c.id), "seq", sys.Num(seq), "pid", sys.Num(cmd.pid))
	}
}

// mayRun reports whether one more command may run, and answers the request if not.
func (c *conn) mayRun(seq uint32) bool {
	limit := c.agent.cfg.Limits.Commands
	if len(c.agent.running)+c.agent.unheard() < int(limit) {
		return true
	}
	c.replyError(seq, "too many commands running (limit "+sys.Num(limit)+")")
	return false
}

// unheard is how many commands have exited and wait for a host to take their stdout. They hold pipes, so they count as if they ran.
func (a *Agent) unheard() (n int) {
	for _, cmd := range a.commands {
		if cmd.exited && !cmd.decided && cmd.stdout.chunks != nil {
			n++
		}
	}
	return n
}

// shellArgs is sh -c command. A command that begins like an option must not be taken for one.
func shellArgs(command string) []string {
	if command != "" && (command[0] == '-' || command[0] == '+') {
		return []string{"sh", "-c", "--", command}
	}
	return []string{"sh", "-c", command}
}

// whyNotStarted is the reason in words. The kernel's for what is too long does not say how long it may be.
func whyNotStarted(err error) string {
	if sys.IsErrno(err, unix.E2BIG) {
		return err.Error() + ": a command, an argument and an environment entry have at most 131071 bytes, and all of them 256 KiB"
	}
	return err.Error()
}

// notStarted answers a request whose command could not be run, and appendNotStarted appends the answer: for an exec as a shell would say it.
func (c *conn) notStarted(t framing.Type, seq uint32, err error) {
	c.reply(c.appendNotStarted(c.stream.Space(framing.HeaderSize+12+maxText), t, seq, err))
}

func (c *conn) appendNotStarted(dst []byte, t framing.Type, seq uint32, err error) []byte {
	c.agent.log.Warn("command not started", "conn", sys.Num(c.id), "seq", sys.Num(seq), "error", err.Error())
	c.agent.garbage.Collect(errorGarbage)
	reason := sys.Clip(whyNotStarted(err), maxText)
	if t == framing.TypeSpawnWatch {
		return framing.AppendError(dst, seq, reason)
	}
	r := framing.ExecResult{ExitCode: 126, Stderr: []byte(reason)}
	if sys.IsErrno(err, unix.ENOENT) {
		r.ExitCode = 127
	}
	return framing.AppendExecResult(dst, seq, &r)
}

// throughSudo makes the command one that sudo runs as root, without asking for a password. Added entries of the environment are
// named to it, not shown: anyone may read a command line.
func (a *Agent) throughSudo(spec *reactor.Command, added framing.Env) {
	args := []string{"sudo", "-n"}
	if added.Len() > 0 {
		names := []byte("--preserve-env=")
		for key := range added.All {
			names = append(append(names, key...), ',')
		}
		args = append(args, string(names[:len(names)-1]))
	}
	args = append(args, shell)
	spec.Path, spec.Search = "sudo", a.env.SudoPath()
	spec.Args = append(args, spec.Args[1:]...)
}
