package command

import (
	"time"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// startGrace is how long a spawn_watch waits to learn whether its program was executed.
const startGrace = 500 * time.Millisecond

// answers are the spawn_watches that are not answered yet. Those of one connection are answered in the order
// of the requests, though their programs may be executed in any. One whose program takes long is answered as
// if it had been executed: if it then fails, its process_exit says so.
type answers struct {
	service *Service
	list    []*command
	timer   reactor.Timer // of the first
}

// add appends a command that is to be answered.
func (a *answers) add(cmd *command) {
	cmd.answerDue = true
	a.list = append(a.list, cmd)
	a.startTimer()
}

// wait starts the timer for the command that has waited longest.
func (a *answers) startTimer() {
	if len(a.list) > 0 && !a.timer.Running() {
		a.service.Loop.Start(&a.timer, max(0, startGrace-a.list[0].process.Elapsed()), a)
	}
}

// answer has a command answered with a frame, and those that waited for it.
func (a *answers) answer(cmd *command, frame []byte) {
	cmd.answer = frame
	c := cmd.conn
	for {
		first := a.first(c)
		if first == nil || first.answer == nil {
			return
		}
		a.send(first)
	}
}

// first returns the first command of a connection that is not answered, or nil.
func (a *answers) first(c *wire.Conn) *command {
	for _, cmd := range a.list {
		if cmd.conn == c {
			return cmd
		}
	}
	return nil
}

// send sends an answer, and the process_exit that waits for it.
func (a *answers) send(cmd *command) {
	c, frame := cmd.conn, cmd.answer
	if frame == nil {
		frame = framing.AppendSpawnResult(nil, cmd.seq, uint32(cmd.process.PID()))
	}
	a.remove(cmd)
	c.ReplyLater(frame)
	cmd.sendDeferred()
	c.Sent()
}

func (a *answers) remove(cmd *command) {
	a.list = sys.Remove(a.list, cmd)
	cmd.answer, cmd.answerDue = nil, false
	if len(a.list) == 0 {
		a.timer.Stop()
	}
}

// Expired implements [reactor.TimerHandler]: what has waited long enough is answered, and what is before it.
func (a *answers) Expired(*reactor.Timer) {
	for len(a.list) > 0 && a.list[0].process.Elapsed() >= startGrace {
		a.send(a.list[0])
	}
	a.startTimer()
}

// detach ends the waiting for a connection. If that is open, all are answered; otherwise they have no host.
func (a *answers) detach(c *wire.Conn) {
	for cmd := a.first(c); cmd != nil; cmd = a.first(c) {
		if c.Open() {
			a.send(cmd)
			continue
		}
		a.remove(cmd)
		cmd.conn, cmd.answerLost = nil, true
		cmd.sendDeferred()
	}
}
