package session

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// outlet is an output of a session: a pipe, or a terminal. Bytes go from it straight into the connection's buffer, as far as the host granted
// them; what it did not is left in the pipe, for which the process waits.
//
// The outlet of a kept session has a ring between the two, which holds everything that the host may not have got yet:
//
//	0 ──── acked ──── sent ──── have ──▶ pipe
//	 let go │  may be lost │ not sent │
type outlet struct {
	session *session
	stream  framing.Stream
	pipe    reactor.Descriptor

	total   uint64 // bytes read
	dropped uint64 // of these, beyond the cap
	sent    uint64
	acked   uint64
	credit  uint64 // bytes more that may be sent
	ring    []byte // of service.holds, or nil while it holds nothing; byte n is at n modulo its length

	readable     bool // a read may give something
	ended        bool // nothing more is to be sent than what is held
	closeSent    bool // the host was told so
	closedByHost bool // the host wants no more
	draining     bool // the process has exited, and what comes after last bytes, or after none, is not waited for
	rest         int
	bulk         bool // it had as much as a frame takes, and is spliced
	grown        bool // its pipe is as large as a spliced frame
}

// have is how many bytes of content came.
func (o *outlet) received() uint64 { return o.total - o.dropped }

// capped reports whether what comes now is dropped.
func (o *outlet) capped() bool { return o.session.outputCap > 0 && o.received() >= o.session.outputCap }

// open begins with the descriptor, which is non-blocking, and which the loop owns from now on.
func (o *outlet) open(fd int) {
	o.ended = false
	o.session.service.Loop.Attach(&o.pipe, fd, o)
}

// interest states what the pipe is waited for: a function of the outlet's state.
func (o *outlet) updateInterest() {
	read := false
	switch s := o.session; {
	case s.launching:
	case o.ended, o.capped():
		read = true // and dropped
	case s.kept():
		read = o.received()-o.acked < reactor.BufferSize
	default:
		read = o.credit > 0 && !o.readable
	}
	if read {
		o.pipe.Want(reactor.Read)
	} else {
		o.pipe.Want(0)
	}
}

// Ready implements [reactor.Handler].
func (o *outlet) Ready(reactor.Events) {
	switch {
	case o.ended, o.capped():
		o.discard()
	case o.session.kept():
		o.fillRing()
	default:
		o.readable = true
	}
	o.updateInterest()
	o.session.queue()
}

// Failed implements [reactor.Failer].
func (o *outlet) Failed(value any, stack []byte) { o.session.Failed(value, stack) }

// read reads from the pipe. It returns 0 if there is nothing, and if this is the end, which it sees to.
func (o *outlet) read(b []byte) int {
	n, err := sys.Read(o.pipe.FD(), b)
	if n > 0 {
		return n
	}
	if err != unix.EAGAIN {
		o.closePipe() // of a pipe, or by an error, which for a terminal is how it ends
	}
	return 0
}

// took counts what was read.
func (o *outlet) countRead(n int) {
	o.total += uint64(n)
	if o.draining {
		if o.rest -= n; o.rest <= 0 || o.session.terminal && o.poll()&unix.POLLIN == 0 {
			o.finish()
		}
	}
}

// fill reads into the ring.
func (o *outlet) fillRing() {
	if o.ring == nil {
		if o.ring = o.session.service.holds.Get(); o.ring == nil {
			panic("agent: more kept processes than buffers")
		}
	}
	at := int(o.received() % reactor.BufferSize)
	n := min(reactor.BufferSize-at, reactor.BufferSize-int(o.received()-o.acked))
	n = o.read(o.ring[at : at+o.withinCap(n)])
	o.countRead(n)
	o.releaseRing()
}

// letGo gives the ring back when it holds nothing.
func (o *outlet) releaseRing() {
	if o.ring != nil && o.acked == o.received() {
		o.session.service.holds.Put(o.ring)
		o.ring = nil
	}
}

// uncapped is n, or what of it is within the cap.
func (o *outlet) withinCap(n int) int {
	if limit := o.session.outputCap; limit > 0 {
		return int(min(uint64(n), limit-o.received()))
	}
	return n
}

// discard reads what nobody wants, so that whoever writes it does not wait.
func (o *outlet) discard() {
	n := o.read(o.session.service.Loop.Scratch())
	if !o.ended {
		o.dropped += uint64(n)
		o.countRead(n)
	}
}

// end closes the pipe: nothing more comes, or is wanted.
func (o *outlet) closePipe() {
	o.pipe.Close()
	o.finish()
}

// finish ends the output, whatever may still be written to the pipe.
func (o *outlet) finish() {
	o.readable = false
	if !o.ended {
		o.ended = true
		o.updateInterest()
		o.session.checkEnd()
		o.session.queue()
	}
}

// look looks for the end of the pipe, which nobody waits for where nothing may be sent.
func (o *outlet) checkEnd() {
	if o.ended {
		return
	}
	if state := o.poll(); state != 0 && state&unix.POLLIN == 0 {
		o.closePipe()
	}
}

// state is what poll(2) says of the pipe.
func (o *outlet) poll() int16 {
	p := []unix.PollFd{{Fd: int32(o.pipe.FD()), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil {
		return unix.POLLIN // a read will tell
	}
	return p[0].Revents
}

// terminalHolds is more than a terminal ever holds of what was written to it: 4 KiB to be read, 8 KiB on the way there, and what its
// buffers are rounded up to; pty_common_install in the kernel's drivers/tty/pty.c. How much it is cannot be asked: TIOCINQ leaves out what is on its way.
const terminalHolds = 16 << 10

// hurry is called when the process has exited a while ago: from now on no more is waited for than what is in the pipe.
func (o *outlet) drainBounded() {
	if o.ended {
		return
	}
	o.draining = true
	if o.rest = terminalHolds; !o.session.terminal {
		o.rest, _ = unix.IoctlGetInt(o.pipe.FD(), unix.TIOCINQ)
	}
	o.countRead(0)
}

// grant is more credit. For a kept process it says too that as many bytes arrived, and never comes to more than what can be held.
func (o *outlet) addCredit(n uint32) {
	o.credit += uint64(n)
	if o.session.kept() {
		o.acked += min(uint64(n), o.sent-o.acked)
		o.limitCredit()
		o.releaseRing()
	}
	o.updateInterest()
}

// bound keeps the credit of a kept process within what it holds.
func (o *outlet) limitCredit() {
	if o.session.kept() {
		o.credit = min(o.credit, reactor.BufferSize-(o.sent-o.acked))
	}
}

// unwant is the host's close: whoever writes on gets SIGPIPE.
func (o *outlet) closeByHost() {
	o.closedByHost = true
	o.dropHeld()
	o.closePipe()
}

// forgetHeld gives up what is held.
func (o *outlet) dropHeld() {
	o.sent = o.received()
	o.acked = o.sent
	o.releaseRing()
}

// holds reports whether output can go on at that offset.
func (o *outlet) canResume(offset uint64) bool {
	return o.closedByHost || offset >= o.acked && offset <= o.received()
}

// resume goes on at an offset that it holds, on another connection.
func (o *outlet) resumeAt(offset uint64, credit uint32) {
	if !o.closedByHost {
		o.sent, o.acked = offset, offset
		o.releaseRing()
	}
	o.credit, o.closeSent = uint64(credit), false
	o.limitCredit()
	o.updateInterest()
}

// ready reports whether it has something to send at once.
func (o *outlet) hasFrame() bool {
	switch {
	case o.closeSent:
		return false
	case o.sent < o.received():
		return o.credit > 0
	case o.ended:
		return true
	}
	return o.readable && o.credit > 0 && !o.capped()
}

// produce sends a frame, of output or the close, and reports whether there was one. It is ready.
func (o *outlet) produce() bool {
	s := o.session
	c := s.conn
	if o.ended && o.sent == o.received() {
		o.closeSent = true
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), s.seq, o.stream))
		return true
	}
	if o.bulk && o.credit >= leastSpliced {
		if sent, ok := o.splice(); ok {
			return sent
		}
	}
	n := int(min(o.credit, wire.MaxOutput))
	frame := c.Space(framing.OutputHeaderSize + n)[:framing.OutputHeaderSize+n]
	content := frame[framing.OutputHeaderSize:]
	if s.kept() {
		n = o.copyHeld(content)
	} else {
		content = content[:o.withinCap(n)]
		n = o.read(content)
		if n < len(content) {
			o.readable = false
		}
		o.bulk = n == wire.MaxOutput && !s.terminal
		o.countRead(n)
	}
	o.sent += uint64(n)
	o.credit -= uint64(n)
	if !s.kept() {
		o.acked = o.sent
	}
	o.updateInterest()
	if n == 0 {
		return false
	}
	framing.AppendOutputHead(frame[:0], s.seq, o.stream, n)
	c.Reply(frame[:framing.OutputHeaderSize+n])
	return true
}

const (
	// leastSpliced is the least content of an output frame for which a splice is faster than a copy.
	leastSpliced = 16 << 10
	// maxSpliced is the most content of an output frame that is spliced. A reply waits for no more.
	maxSpliced = 256 << 10
	// maxTurn is the most of it while other channels of the connection have something to send too.
	maxTurn = 128 << 10
)

// splice is produce without a copy. It reports false if it cannot be done.
func (o *outlet) splice() (sent, ok bool) {
	s := o.session
	c := s.conn
	if !o.grown {
		o.grown = true
		sys.GrowPipe(o.pipe.FD(), maxSpliced)
	}
	limit := uint64(maxSpliced)
	if c.Crowded() {
		limit = maxTurn
	}
	most := o.withinCap(int(min(o.credit, limit)))
	n, err := c.SpliceFrom(o.pipe.FD(), most)
	o.readable = n == most
	o.bulk = n >= leastSpliced
	switch {
	case n > 0:
		c.ReplySpliced(framing.AppendOutputHead(c.Space(framing.OutputHeaderSize), s.seq, o.stream, n))
		o.sent += uint64(n)
		o.acked += uint64(n)
		o.credit -= uint64(n)
		o.countRead(n)
	case err == nil:
		o.closePipe()
	case err != unix.EAGAIN:
		o.readable = true
		return false, false
	}
	o.updateInterest()
	return n > 0, true
}

// copyHeld copies what is next to be sent.
func (o *outlet) copyHeld(b []byte) int {
	b = b[:min(uint64(len(b)), o.received()-o.sent)]
	at := int(o.sent % reactor.BufferSize)
	n := copy(b, o.ring[at:])
	copy(b[n:], o.ring)
	return len(b)
}

// release gives up what it holds, and the pipe too if nobody needs to be read from.
func (o *outlet) release(pipe bool) {
	o.ended = true
	o.dropHeld()
	if pipe {
		o.pipe.Close()
	}
	o.updateInterest()
}
