package agent

import (
	"time"

	"wick/framing"
	"wick/reactor"
)

// startGrace is how long a spawn_watch waits to learn whether its program was executed.
const startGrace = 500 * time.Millisecond

// answers are the spawn_watches of a connection that are not answered yet. They are answered in the order of the requests, though their programs may
// be executed in any. One whose program takes long is answered as if it had been executed: if it then fails, its process_exit says so.
type answers struct {
	list  []*command
	timer reactor.Timer
}

// add appends a command that is to be answered.
func (o *answers) add(cmd *command) {
	cmd.owed = true
	if o.list = append(o.list, cmd); !o.timer.Running() {
		cmd.agent.loop.Start(&o.timer, startGrace, o)
	}
}

// answer has a command answered with a frame.
func (o *answers) answer(cmd *command, frame []byte) {
	cmd.answer = frame
	for len(o.list) > 0 && o.list[0].answer != nil {
		o.send()
	}
}

// send sends the first answer, and the process_exit that waits for it.
func (o *answers) send() {
	cmd := o.list[0]
	c, frame := cmd.conn, cmd.answer
	if frame == nil {
		frame = framing.AppendSpawnResult(nil, cmd.seq, uint32(cmd.pid))
	}
	o.remove(cmd)
	c.replyLater(frame)
	cmd.known()
	c.sent()
}

func (o *answers) remove(cmd *command) {
	o.list = remove(o.list, cmd)
	cmd.answer, cmd.owed = nil, false
	if len(o.list) == 0 {
		o.timer.Stop()
	}
}

// flush answers them all.
func (o *answers) flush() {
	for len(o.list) > 0 {
		o.send()
	}
}

// Expired implements [reactor.TimerHandler].
func (o *answers) Expired(*reactor.Timer) { o.flush() }

// forget is the end of the connection.
func (o *answers) forget() {
	for len(o.list) > 0 {
		cmd := o.list[0]
		o.remove(cmd)
		cmd.conn, cmd.untold = nil, true
		cmd.known()
	}
}
