package session

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

const (
	// inputWindow is the most input of a session that is under way or waits, in bytes.
	inputWindow = 60 << 10
	// inputStep is how much of it is taken before the host is told.
	inputStep = inputWindow / 4
)

// inlet is the stdin of a session: a pipe, or a terminal. What it does not take at once waits in a buffer.
type inlet struct {
	session   *session
	pipe      reactor.Descriptor
	present   bool   // there is a stdin
	window    uint32 // bytes that the host may still send
	taken     uint64 // bytes since the start
	ungranted uint32 // bytes taken and not granted anew
	ended     bool   // the host has ended it
	closeDue  bool   // nobody reads it any more; the host is to be told
	lastByte  byte   // the last one

	buf        []byte // of service.holds, or nil
	head, tail int    // what of it waits
	eofLen     int    // bytes at its end that are none of the host's
}

// open begins with the descriptor, which is non-blocking, and which the loop owns from now on.
func (in *inlet) open(fd int) {
	in.lastByte = '\n'
	in.session.service.Loop.Attach(&in.pipe, fd, in)
}

// put takes input, and reports whether it was granted.
func (in *inlet) receive(b []byte) bool {
	if len(b) > int(in.window) {
		return false
	}
	in.window -= uint32(len(b))
	if !in.ended {
		in.feed(b)
	}
	return true
}

// add writes what the pipe takes, and keeps the rest.
func (in *inlet) feed(b []byte) {
	if len(b) > 0 {
		in.lastByte = b[len(b)-1]
	}
	if in.head == in.tail {
		n := in.write(b)
		in.countTaken(n)
		b = b[n:]
	}
	if len(b) > 0 && in.pipe.Open() {
		in.buffer(b)
	}
}

// keep puts b behind what waits.
func (in *inlet) buffer(b []byte) {
	if in.buf == nil {
		svc := in.session.service
		if svc.inputBuffers == int(svc.Table.Limit) {
			in.fail() // more processes have exited and wait for their output to be read than may run
			return
		}
		svc.inputBuffers++
		in.buf = svc.holds.Get()
	}
	if in.tail+len(b) > len(in.buf) {
		in.tail = copy(in.buf, in.buf[in.head:in.tail])
		in.head = 0
	}
	in.tail += copy(in.buf[in.tail:], b)
	in.pipe.Want(reactor.Write)
}

// write writes what the pipe takes.
func (in *inlet) write(b []byte) int {
	if !in.pipe.Open() || len(b) == 0 {
		return 0
	}
	n, err := sys.Write(in.pipe.FD(), b)
	switch err {
	case nil:
		return n
	case unix.EAGAIN:
	default:
		in.fail()
	}
	return 0
}

// took counts what was taken.
func (in *inlet) countTaken(n int) {
	in.taken += uint64(n)
	in.ungranted += uint32(n)
}

// Ready implements [reactor.Handler]: there is room.
func (in *inlet) Ready(reactor.Events) {
	n := in.write(in.buf[in.head:in.tail])
	in.head += n
	if own := in.eofLen - (in.tail - in.head); own > 0 {
		in.eofLen -= own
		n -= own
	}
	in.countTaken(n)
	in.checkEnd()
	in.session.queue()
}

// settle is called when something was taken.
func (in *inlet) checkEnd() {
	if in.head < in.tail {
		return
	}
	in.releaseBuffer()
	if in.ended && !in.session.onTerminal() {
		in.close()
	}
}

// Failed implements [reactor.Failer].
func (in *inlet) Failed(value any, stack []byte) { in.session.Failed(value, stack) }

// end is the host's: what waits is still written. A terminal's end is its VEOF character, as if it was typed: at the beginning of a line
// it is the end, and within one the second of two is.
func (in *inlet) endInput() {
	if in.ended || !in.pipe.Open() {
		return
	}
	in.ended = true
	if in.session.onTerminal() {
		if eof, lines := launch.TerminalEOF(in.pipe.FD()); eof != 0 {
			typed := []byte{eof, eof}
			if !lines || in.lastByte == '\n' || in.lastByte == '\r' || in.lastByte == eof {
				typed = typed[:1]
			}
			in.buffer(typed)
			in.eofLen = len(typed)
		}
		return
	}
	in.checkEnd()
}

// broke is the end of the pipe: whoever read it is gone.
func (in *inlet) fail() {
	in.closeDue = true
	in.close()
}

// drop gives up what waits.
func (in *inlet) releaseBuffer() {
	in.head, in.tail, in.eofLen = 0, 0, 0
	in.pipe.Want(0)
	if in.buf != nil {
		in.session.service.inputBuffers--
		in.session.service.holds.Put(in.buf)
		in.buf = nil
	}
}

// close ends stdin, with what waits for it.
func (in *inlet) close() {
	in.releaseBuffer()
	in.pipe.Close()
}

// lost is the end of the connection: what waits is lost with it, and sent again by the next one, its end too.
func (in *inlet) detach() {
	if in.head < in.tail {
		in.ended = false
		in.lastByte = '\n' // where its line stands is not known
	}
	in.releaseBuffer()
	in.window, in.ungranted, in.closeDue = 0, 0, false
}

// resume is the beginning of a connection. It is called before started is sent.
func (in *inlet) bind() {
	switch {
	case in.pipe.Open():
		in.window = inputWindow
	case in.present:
		in.closeDue = true
	}
}

// pending reports whether the host is to be told something.
func (in *inlet) hasReply() bool { return in.closeDue || in.ungranted >= inputStep && in.pipe.Open() }
