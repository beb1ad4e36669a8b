package command

import (
	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// noticeRoom is enough for the lines that the agent adds to stderr, in bytes. Output is cut for
	// them only if there are any.
	noticeRoom = 512
	// leastStderr is how many bytes of stderr are sent at least, if both outputs are too long.
	leastStderr = 1 << 20
)

// result is the exec_result or process_exit of a command. It is a source whose stages fill the
// frame while it is sent: head, stdout, count, stderr, and the lines that the agent adds.
type result struct {
	command *command
	conn    *wire.Conn // on which it is being sent
	code    int32
	nout    int64  // bytes of stdout that are sent
	nerr    int64  // bytes of stderr that are sent, without the added lines
	tail    []byte // the added lines
	stage   stage
	offset  int64 // within the stage
}

type stage uint8

const (
	stageHead stage = iota
	stageStdout
	stageCount
	stageStderr
	stageTail
	stageDone
)

// newResult decides how much of each output is sent.
func newResult(cmd *command) *result {
	r := &cmd.result
	*r = result{command: cmd, conn: cmd.conn, code: cmd.process.ExitCode()}
	room := int64(framing.MaxOutput)
	if cmd.watch() {
		room -= 4 // for the pid
	}
	if r.divide(room); r.nout+r.nerr+int64(len(r.tail)) > room {
		r.divide(room - noticeRoom)
	}
	return r
}

// divide splits room bytes between the two outputs, and writes the lines that report what is left
// out.
func (r *result) divide(room int64) {
	cmd := r.command
	r.nout, r.nerr, r.tail = cmd.stdout.kept, cmd.stderr.kept, nil
	if r.nout+r.nerr > room {
		r.nerr = min(r.nerr, max(leastStderr, room-r.nout))
		r.nout = min(r.nout, room-r.nerr)
	}
	lost := [2]int64{
		cmd.stdout.dropped + cmd.stdout.kept - r.nout,
		cmd.stderr.dropped + cmd.stderr.kept - r.nerr,
	}
	if lost != [2]int64{} {
		r.addLine("[output truncated: " + sys.Num(lost[0]) + " bytes of stdout, " +
			sys.Num(lost[1]) + " bytes of stderr dropped]")
	}
	if cmd.process.OOMKills() > 0 {
		r.addLine("[out of memory: " + sys.Num(cmd.process.OOMKills()) + " processes killed]")
	}
	if s := cmd.stdout.chunks; s != nil && s.logErr != nil {
		r.addLine("[log incomplete: " + sys.Clip(s.logErr.Error(), maxLogReason) + "]")
	}
	if cmd.process.TimedOut() {
		r.addLine("Timeout")
	}
}

// addLine adds a line to stderr. It starts on a new line, and the last one has no newline.
func (r *result) addLine(text string) {
	if len(r.tail) > 0 || r.nerr > 0 && r.lastStderr() != '\n' {
		r.tail = append(r.tail, '\n')
	}
	r.tail = append(r.tail, text...)
}

func (r *result) lastStderr() byte {
	e := &r.command.stderr
	if r.nerr == e.kept {
		return e.last
	}
	var b [1]byte
	e.readAt(b[:], r.nerr-1)
	return b[0]
}

// Fill implements [reactor.Source].
func (r *result) Fill(b []byte) (n int, last bool) {
	for n < len(b) && r.stage != stageDone {
		if _, _, size := r.File(); size > 0 && n > 0 {
			break
		}
		switch r.stage {
		case stageHead:
			n = len(r.appendHead(b[:0]))
			r.nextStage()
		case stageStdout:
			n += r.copyFrom(&r.command.stdout, b[n:], r.nout)
		case stageCount:
			if len(b)-n < 4 {
				return n, false
			}
			n += len(framing.AppendCount(b[n:n], int(r.nerr)+len(r.tail)))
			r.nextStage()
		case stageStderr:
			n += r.copyFrom(&r.command.stderr, b[n:], r.nerr)
		case stageTail:
			m := copy(b[n:], r.tail[r.offset:])
			n += m
			if r.offset += int64(m); r.offset == int64(len(r.tail)) {
				r.nextStage()
			}
		}
	}
	return n, r.stage == stageDone
}

// File implements [reactor.FileSource].
func (r *result) File() (fd int, offset, size int64) {
	o, size := &r.command.stdout, r.nout
	switch r.stage {
	case stageStdout:
	case stageStderr:
		o, size = &r.command.stderr, r.nerr
	default:
		return -1, 0, 0
	}
	if o.spool < 0 {
		return -1, 0, 0
	}
	return o.spool, r.offset, size - r.offset
}

// Took implements [reactor.FileSource].
func (r *result) Took(n int) {
	_, _, size := r.File()
	r.offset += int64(n)
	if int64(n) == size {
		r.nextStage()
	}
}

func (r *result) nextStage() {
	r.stage++
	r.offset = 0
}

func (r *result) appendHead(b []byte) []byte {
	nerr := int(r.nerr) + len(r.tail)
	if r.command.watch() {
		pid := uint32(r.command.process.PID())
		return framing.AppendProcessExitHead(b, pid, r.code, int(r.nout), nerr)
	}
	return framing.AppendExecResultHead(b, r.command.seq, r.code, int(r.nout), nerr)
}

func (r *result) copyFrom(o *capture, b []byte, size int64) int {
	m := int(min(int64(len(b)), size-r.offset))
	o.readAt(b[:m], r.offset)
	if r.offset += int64(m); r.offset == size {
		r.nextStage()
	}
	return m
}

// Sent implements [reactor.Source].
func (r *result) Sent(whole bool) {
	c := r.conn
	if !whole && r.command.watch() {
		// The next host gets it again, from the beginning.
		r.stage, r.offset, r.conn = stageHead, 0, nil
		r.command.service.keepExit(r)
	} else {
		r.command.release()
		r.command.service.recycle(r.command)
	}
	c.Sent()
}
