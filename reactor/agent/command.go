package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// command is one exec or spawn_watch, from the spawn to the moment when its result has gone out and its pipes have ended.
//
//	started ──exit──▶ exited ──both pipes at end, or what was in them pipeGrace later──▶ decided ──▶ its result is sent
//	    └──timeout──▶ killed ──as above, or killGrace──▶ decided
type command struct {
	process
	conn   *conn // where it came from; nil once that is closed
	seq    uint32
	stdout capture
	stderr capture

	owed   bool    // a spawn_watch that is not answered yet
	untold bool    // a spawn_watch whose connection ended before the answer
	answer []byte  // that waits for its turn
	exit   *result // the process_exit that waits for the answer
}

// start spawns it with pipes for its output.
func (cmd *command) start(spec *reactor.Command) error {
	a := cmd.agent
	cmd.owner = cmd
	cmd.stdout.spool, cmd.stderr.spool = -1, -1
	var ends [2]int
	for i, out := range []*capture{&cmd.stdout, &cmd.stderr} {
		w, err := out.open(a, cmd)
		if err != nil {
			if i == 1 {
				unix.Close(ends[0])
			}
			cmd.release()
			return err
		}
		ends[i] = w
	}
	spec.Files = [3]int{a.null, ends[0], ends[1]}
	err := cmd.spawn(spec)
	sys.Close(ends[0])
	sys.Close(ends[1])
	if err != nil {
		cmd.release()
		return err
	}
	cmd.stdout.pid, cmd.stderr.pid = cmd.pid, cmd.pid
	cmd.conn.due++ // for its exec_result, or its spawn_watch_result
	if cmd.watch() {
		cmd.conn.owed.add(cmd)
	}
	a.commands = append(a.commands, cmd)
	return nil
}

// watch reports whether it is a spawn_watch.
func (cmd *command) watch() bool { return cmd.kind == framing.KindSpawnWatch }

// started implements [processOwner]: a host is told the pid of what it watches.
func (cmd *command) started() {
	if cmd.owed {
		cmd.conn.owed.answer(cmd, framing.AppendSpawnResult(nil, cmd.seq, uint32(cmd.pid)))
	}
}

// notStarted implements [processOwner].
func (cmd *command) notStarted(f *startFailure) {
	cmd.decided = true
	cmd.leave()
	cmd.stdout.close()
	cmd.stderr.close()
	if s := cmd.stdout.chunks; s != nil {
		s.closeLog()
	}
	c := cmd.conn
	if cmd.watch() && !cmd.owed && !cmd.untold {
		cmd.exit = newResult(cmd)
		cmd.exit.code = f.code()
		cmd.exit.line(sys.Clip(f.err.Error(), maxText))
		cmd.tell()
		return
	}
	cmd.release()
	switch {
	case cmd.owed:
		c.owed.answer(cmd, c.appendNotStarted(nil, framing.TypeSpawnWatch, cmd.seq, f.err))
	case c != nil:
		c.replyLater(c.appendNotStarted(nil, framing.TypeExec, cmd.seq, f.err))
		c.sent()
	}
}

// gone implements [processOwner].
func (cmd *command) gone() {
	cmd.leaveCgroup()
	if cmd.decided {
		cmd.leave()
	} else {
		cmd.ended()
	}
}

// overdue implements [processOwner].
func (cmd *command) overdue() {
	out, errs := cmd.stdout.hurry(), cmd.stderr.hurry()
	switch {
	case !cmd.exited || out && errs:
		cmd.decide()
	case errs && cmd.stdout.chunks != nil:
		cmd.stdout.chunks.ready() // it waits for a host, and then for no more than what is in the pipe
	default:
		cmd.agent.loop.Start(&cmd.grace, pipeGrace, &cmd.process)
	}
}

// ended is called when something of the command has come to its end.
func (cmd *command) ended() {
	if cmd.exited && !cmd.decided && cmd.stdout.over() && cmd.stderr.over() {
		cmd.decide()
	}
}

// decide makes the result and sends it on its way. From here on output is read and dropped.
func (cmd *command) decide() {
	cmd.decided = true
	if cmd.exited {
		cmd.leave()
	}
	cmd.grace.Stop()
	cmd.stdout.decided, cmd.stderr.decided = true, true
	if s := cmd.stdout.chunks; s != nil {
		s.closeLog()
		cmd.stdout.resume()
	}
	a := cmd.agent
	r := newResult(cmd)
	if a.log.Enabled(LevelDebug) {
		a.log.Debug("command ended", "pid", sys.Num(cmd.pid), "code", sys.Num(r.code))
	}
	c := cmd.conn
	switch {
	case cmd.watch():
		cmd.exit = r
		cmd.tell()
	case c == nil:
		cmd.release() // nobody waits for it
	default:
		c.send(r)
		c.sent() // what was due since the spawn is in the stream's queue now, which counts for itself
	}
	a.stepDown()
}

// known sends what waited for the answer.
func (cmd *command) known() {
	if s := cmd.stdout.chunks; s != nil {
		s.push()
	}
	cmd.tell()
}

// tell sends the process_exit, if there is one and the host knows the process.
func (cmd *command) tell() {
	if r := cmd.exit; r != nil && !cmd.owed {
		cmd.exit = nil
		cmd.agent.deliver(r)
	}
}

// release gives back what holds the output. Pipes that have not ended are read on.
func (cmd *command) release() {
	cmd.stdout.release()
	cmd.stderr.release()
}

// leave takes the command off the agent's list: it has exited, and its result is decided.
func (cmd *command) leave() { cmd.agent.commands = remove(cmd.agent.commands, cmd) }

// abandon lets go of a command that runs on without the agent.
func (cmd *command) abandon() {
	cmd.leave()
	if s := cmd.stdout.chunks; s != nil {
		s.closeLog()
	}
	cmd.release()
}

// Failed implements [reactor.Failer].
func (cmd *command) Failed(value any, stack []byte) {
	cmd.agent.log.Panic("command", value, stack)
}

// host is the connection for what its host did not ask for: c, which spawned a process, if it is open, else the newest open one, else nil.
func (a *Agent) host(c *conn) *conn {
	if c != nil && c.state == connOpen {
		return c
	}
	for i := len(a.conns) - 1; i >= 0; i-- {
		if c := a.conns[i]; c.state == connOpen && !c.guest {
			return c
		}
	}
	return nil
}

// deliver sends a process_exit: on the connection that spawned the process if it is open, else on the newest open
// one. It is kept if there is none, or its host may not listen yet.
func (a *Agent) deliver(r *result) {
	c := a.host(r.command.conn)
	if c == nil || !c.greeted {
		a.keepExit(r)
		return
	}
	r.conn = c
	c.send(r)
}

// redirect has what waits for a host look for one again, after a connection was greeted or has ended.
func (a *Agent) redirect() {
	if a.down >= downFlushed {
		return
	}
	for _, r := range a.takeExits() {
		a.deliver(r)
	}
	// From the end: any of them may be decided by this, and leave the list.
	for i := len(a.commands) - 1; i >= 0; i-- {
		if i < len(a.commands) && a.commands[i].stdout.chunks != nil {
			a.commands[i].stdout.chunks.push()
		}
	}
}

// keepExit keeps a process_exit for the next connection.
func (a *Agent) keepExit(r *result) {
	if len(a.exits) == int(a.cfg.Limits.Exits) {
		oldest := a.exits[0]
		a.exits = remove(a.exits, oldest)
		oldest.command.release()
		a.log.Warn("process_exit dropped", "pid", sys.Num(oldest.command.pid), "limit", sys.Num(a.cfg.Limits.Exits))
	}
	a.exits = append(a.exits, r)
}

// takeExits gives up what was kept.
func (a *Agent) takeExits() []*result {
	exits := a.exits
	a.exits = nil
	return exits
}
