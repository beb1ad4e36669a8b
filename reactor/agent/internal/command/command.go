package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// command is one exec or spawn_watch, from the fork until its result is sent and its pipes have
// ended.
//
//	running ──exit──▶ exited ──pipes end, or are drained after PipeGrace──▶ finished ──▶ sent
//	   └──timeout──▶ killed ──as above, or after KillGrace──▶ finished
type command struct {
	service *Service
	process launch.Process
	conn    *wire.Conn // on which it was requested; nil once that is closed
	seq     uint32
	stdout  capture
	stderr  capture

	answerDue  bool    // a spawn_watch that is not answered yet
	answerLost bool    // a spawn_watch whose connection closed before the answer
	answer     []byte  // the frame that waits for its turn
	exit       *result // the process_exit that waits for the answer
	result     result
}

const (
	// maxSpares limits the commands that are kept for reuse.
	maxSpares = 8
	// commandSize is the memory of a command, in bytes.
	commandSize = 1 << 10
)

// newCommand returns an empty command, which may have been another before.
func (s *Service) newCommand() *command {
	n := len(s.spares)
	if n == 0 {
		s.Garbage.Collect(commandSize)
		return &command{service: s}
	}
	cmd := s.spares[n-1]
	s.spares = s.spares[:n-1]
	*cmd = command{service: s}
	return cmd
}

// recycle keeps a command whose result is sent or lost for newCommand. Its process has been reaped
// and its pipes have ended, or else something may still refer to it.
func (s *Service) recycle(cmd *command) {
	over := cmd.process.HasExited() && cmd.stdout.state == ended && cmd.stderr.state == ended
	if over && cmd.stdout.chunks == nil && len(s.spares) < maxSpares {
		s.spares = append(s.spares, cmd)
	}
}

// start forks the command, with pipes for its output. After an error it holds nothing.
func (cmd *command) start(spec *reactor.Command) error {
	s := cmd.service
	cmd.process.Owner = cmd
	cmd.stdout.spool, cmd.stderr.spool = -1, -1
	var ends [2]int
	for i, out := range []*capture{&cmd.stdout, &cmd.stderr} {
		w, err := out.open(s, cmd)
		if err != nil {
			if i == 1 {
				unix.Close(ends[0])
			}
			cmd.release()
			return err
		}
		if u := spec.User; u != nil { // the command may open /dev/stdout
			unix.Fchown(w, int(u.UID), int(u.GID))
		}
		ends[i] = w
	}
	spec.Files = [3]int{s.Null, ends[0], ends[1]}
	err := cmd.process.Spawn(s.Table, spec)
	cmd.stdout.held, cmd.stderr.held = ends[0], ends[1]
	if err != nil {
		cmd.release()
		return err
	}
	if cmd.watch() { // the end of its stdout may be to be told
		cmd.stdout.closeWriteEnd()
		cmd.stderr.closeWriteEnd()
	}
	cmd.conn.Owe() // its exec_result, or its spawn_watch_result
	if cmd.watch() {
		s.answers.add(cmd)
	}
	s.commands = append(s.commands, cmd)
	return nil
}

// watch reports whether the command is a spawn_watch.
func (cmd *command) watch() bool { return cmd.process.Kind == framing.KindSpawnWatch }

// Started implements [launch.Owner]. It answers a spawn_watch with the pid.
func (cmd *command) Started() {
	if cmd.answerDue {
		pid := uint32(cmd.process.PID())
		cmd.service.answers.answer(cmd, framing.AppendSpawnResult(nil, cmd.seq, pid))
	}
}

// NotStarted implements [launch.Owner].
func (cmd *command) NotStarted(f *launch.Failure) {
	cmd.process.Finish()
	cmd.unlist()
	cmd.stdout.close()
	cmd.stderr.close()
	if s := cmd.stdout.chunks; s != nil {
		s.closeLog()
	}
	c := cmd.conn
	if cmd.watch() && !cmd.answerDue && !cmd.answerLost {
		cmd.exit = newResult(cmd)
		cmd.exit.code = f.Code()
		cmd.exit.addLine(sys.Clip(f.Err.Error(), wire.MaxText))
		cmd.sendExit()
		return
	}
	cmd.release()
	switch {
	case cmd.answerDue:
		frame := cmd.service.appendNotStarted(c, nil, framing.TypeSpawnWatch, cmd.seq, f.Err)
		cmd.service.answers.answer(cmd, frame)
	case c != nil:
		c.ReplyLater(cmd.service.appendNotStarted(c, nil, framing.TypeExec, cmd.seq, f.Err))
		c.Sent()
	}
}

// Exited implements [launch.Owner].
func (cmd *command) Exited() {
	cmd.process.ReturnBox()
	if cmd.process.Finished() {
		cmd.unlist()
		return
	}
	cmd.stdout.readEnd()
	cmd.stderr.readEnd()
	cmd.checkEnd()
}

// Overdue implements [launch.Owner].
func (cmd *command) Overdue() {
	out, errs := cmd.stdout.drainBounded(), cmd.stderr.drainBounded()
	switch {
	case !cmd.process.HasExited() || out && errs:
		cmd.finish()
	case errs && cmd.stdout.chunks != nil:
		cmd.stdout.chunks.onReadable() // a host has yet to take what is in the pipe
	default:
		cmd.process.ExtendGrace()
	}
}

// checkEnd finishes the command once it has exited and its output is drained.
func (cmd *command) checkEnd() {
	waits := cmd.process.HasExited() && !cmd.process.Finished()
	if waits && cmd.stdout.drained() && cmd.stderr.drained() {
		cmd.finish()
	}
}

// finish makes the result and sends it. Later output is read and dropped.
func (cmd *command) finish() {
	cmd.process.Finish()
	if cmd.process.HasExited() {
		cmd.unlist()
	}
	cmd.stdout.drop()
	cmd.stderr.drop()
	if ch := cmd.stdout.chunks; ch != nil {
		ch.closeLog()
		cmd.stdout.resume()
	}
	s := cmd.service
	r := newResult(cmd)
	if s.Log.Enabled(log.LevelDebug) {
		s.Log.Debug("command ended", "pid", sys.Num(cmd.process.PID()), "code", sys.Num(r.code))
	}
	c := cmd.conn
	switch {
	case cmd.watch():
		cmd.exit = r
		cmd.sendExit()
	case c == nil:
		cmd.release()
	default:
		c.Send(r)
		c.Sent() // ends the Owe of the start; the queued result counts by itself
	}
	s.Changed()
}

// sendDeferred sends what had to wait for the answer: chunks and the process_exit.
func (cmd *command) sendDeferred() {
	if s := cmd.stdout.chunks; s != nil {
		s.queue()
	}
	cmd.sendExit()
}

// sendExit sends the process_exit, if there is one and the host has the pid.
func (cmd *command) sendExit() {
	if r := cmd.exit; r != nil && !cmd.answerDue {
		cmd.exit = nil
		cmd.service.deliver(r)
	}
}

// release frees the output that is kept.
func (cmd *command) release() {
	cmd.stdout.release()
	cmd.stderr.release()
}

// unlist takes a command off the list: it has exited and its result is made.
func (cmd *command) unlist() { cmd.service.commands = sys.Remove(cmd.service.commands, cmd) }

// abandon releases a command that runs on without the agent.
func (cmd *command) abandon() {
	cmd.unlist()
	if s := cmd.stdout.chunks; s != nil {
		s.closeLog()
	}
	cmd.release()
}

// Failed implements [reactor.Failer].
func (cmd *command) Failed(value any, stack []byte) {
	cmd.service.Log.Panic("command", value, stack)
}

// SignalGroup implements [launch.Owner].
func (cmd *command) SignalGroup(sig unix.Signal) { cmd.process.SignalGroup(sig) }

// Cancel implements [launch.Owner].
func (cmd *command) Cancel() { cmd.process.Kill() }

// Record implements [launch.Owner].
func (cmd *command) Record() framing.Process { return cmd.process.Record() }
