package command

import (
	"time"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// startGrace is how long the answer to a spawn_watch waits for the program to be executed.
const startGrace = 500 * time.Millisecond

// answers holds the spawn_watches whose answer is due. Their programs may be executed in any order,
// but each connection gets its answers in the order of its requests. A program that takes longer
// than startGrace is answered as executed. If it fails after that, its process_exit says so.
type answers struct {
	service *Service
	list    []*command
	timer   reactor.Timer // for the oldest
}

// add appends a command whose answer is due.
func (a *answers) add(cmd *command) {
	cmd.answerDue = true
	a.list = append(a.list, cmd)
	a.startTimer()
}

// startTimer starts the timer for the oldest command.
func (a *answers) startTimer() {
	if len(a.list) > 0 && !a.timer.Running() {
		a.service.Loop.Start(&a.timer, max(0, startGrace-a.list[0].process.Elapsed()), a)
	}
}

// answer sets the answer of cmd, and sends it unless the connection waits for an earlier one. Then
// it sends the later answers that are ready.
func (a *answers) answer(cmd *command, frame []byte) {
	cmd.answer = frame
	a.sendReady(cmd.conn)
}

// sendReady sends the answers of c up to the first that is not set. So the first command of a
// connection in the list never has an answer.
func (a *answers) sendReady(c *wire.Conn) {
	for {
		first := a.first(c)
		if first == nil || first.answer == nil {
			return
		}
		a.send(first)
	}
}

// first returns the oldest unanswered command of a connection, or nil.
func (a *answers) first(c *wire.Conn) *command {
	for _, cmd := range a.list {
		if cmd.conn == c {
			return cmd
		}
	}
	return nil
}

// send sends the answer of cmd, and after it the process_exit if there is one already.
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

// Expired implements [reactor.TimerHandler]. It answers the commands that have waited for
// startGrace, and those whose answers waited for theirs.
func (a *answers) Expired(*reactor.Timer) {
	for len(a.list) > 0 && a.list[0].process.Elapsed() >= startGrace {
		c := a.list[0].conn
		a.send(a.list[0])
		a.sendReady(c)
	}
	a.startTimer()
}

// detach sends every answer that is due on c if c is still open. Otherwise the answers are lost.
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
