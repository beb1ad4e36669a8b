package session

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

const (
	// inputWindow limits the input of a session that is in flight or buffered, in bytes.
	inputWindow = 60 << 10
	// inputStep is how many bytes the process takes before the host gets new credit.
	inputStep = inputWindow / 4
)

// inlet is the stdin of a session: a pipe or a terminal. A buffer holds the input that the process
// has not taken.
type inlet struct {
	session   *session
	pipe      reactor.Descriptor
	present   bool   // the process has a stdin
	window    uint32 // bytes that the host may still send
	taken     uint64 // bytes that the process took since the start
	ungranted uint32 // bytes taken for which there was no new credit yet
	ended     bool   // the host has closed the input
	closeDue  bool   // the process has closed its stdin, and the host is to be told
	lastByte  byte   // of the input

	buf        []byte // of service.holds, or nil
	head, tail int    // buf[head:tail] waits for the process
	eofLen     int    // how many bytes at its end are a terminal's end character, not the host's
}

// open attaches fd, which is non-blocking. The loop owns it from then on.
func (in *inlet) open(fd int) {
	in.lastByte = '\n'
	in.session.service.Loop.Attach(&in.pipe, fd, in)
}

// receive takes input from the host. It reports false if the input exceeds the window.
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

// feed writes what the pipe takes, and buffers the rest.
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

// buffer appends b to what waits.
func (in *inlet) buffer(b []byte) {
	if in.buf == nil {
		svc := in.session.service
		if svc.inputBuffers == int(svc.Table.Limit) {
			in.fail() // too many exited processes still wait for a host, each with a buffer
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

// write writes what the pipe takes, and returns how many bytes.
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

// countTaken counts n bytes that the process took.
func (in *inlet) countTaken(n int) {
	in.taken += uint64(n)
	in.ungranted += uint32(n)
}

// Ready implements [reactor.Handler]. It writes what waits.
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

// checkEnd releases an empty buffer, and closes stdin if the host has closed the input.
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

// endInput handles the host's close. Buffered input is still written.
//
// A terminal gets its VEOF character, as if it were typed. At the beginning of a line one is the
// end of input; within a line it takes two.
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

// fail closes a stdin that has no reader any more.
func (in *inlet) fail() {
	in.closeDue = true
	in.close()
}

// releaseBuffer drops what waits, and returns the buffer to the pool.
func (in *inlet) releaseBuffer() {
	in.head, in.tail, in.eofLen = 0, 0, 0
	in.pipe.Want(0)
	if in.buf != nil {
		in.session.service.inputBuffers--
		in.session.service.holds.Put(in.buf)
		in.buf = nil
	}
}

// close closes stdin and drops what waits.
func (in *inlet) close() {
	in.releaseBuffer()
	in.pipe.Close()
}

// detach handles the loss of the connection. It drops what waits, even a close, because the next
// connection sends it again.
func (in *inlet) detach() {
	if in.head < in.tail {
		in.ended = false
		in.lastByte = '\n' // the position in the line is unknown now
	}
	in.releaseBuffer()
	in.window, in.ungranted, in.closeDue = 0, 0, false
}

// bind opens the window for a new connection. It is called before started is sent.
func (in *inlet) bind() {
	switch {
	case in.pipe.Open():
		in.window = inputWindow
	case in.present:
		in.closeDue = true
	}
}

// hasReply reports whether a close or a credit is to be sent.
func (in *inlet) hasReply() bool {
	return in.closeDue || in.ungranted >= inputStep && in.pipe.Open()
}
