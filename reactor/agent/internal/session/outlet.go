package session

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// outlet is an output of a session: a pipe or a terminal. Bytes go from it straight into the
// connection's buffer, within the host's credit. The rest stays in the pipe, and the process
// blocks.
//
// The outlet of a kept session has a ring in between. It holds what the host may not have received
// yet:
//
//	0 ──────── acked ─────── sent ─────── received ──▶ pipe
//	  released   │ may be lost │  not sent   │
type outlet struct {
	session *session
	stream  framing.Stream
	pipe    reactor.Descriptor

	total   uint64 // bytes read
	dropped uint64 // the part of total beyond the cap
	lost    uint64 // the part of total that went from the ring unsent, for want of a host
	sent    uint64 // bytes sent
	acked   uint64 // bytes that the host has received for certain
	credit  uint64 // bytes that may still be sent
	// ring is a buffer of service.holds, or nil while it is empty. Byte n is at n modulo its
	// length.
	ring []byte

	readable     bool // a read may succeed
	ended        bool // nothing follows what is received
	closeSent    bool // the host has been told of the end
	closedByHost bool // the host wants no more
	draining     bool // the process has exited; no more than rest bytes are awaited
	rest         int
	bulk         bool // the last read filled a frame, so the next is spliced
	grown        bool // the pipe has the size of a spliced frame
}

// received returns the bytes of content read: those within the cap.
func (o *outlet) received() uint64 { return o.total - o.dropped }

// capped reports whether the cap is reached, so that more output is dropped.
func (o *outlet) capped() bool {
	return o.session.outputCap > 0 && o.received() >= o.session.outputCap
}

// open attaches fd, which is non-blocking. The loop owns it from then on.
func (o *outlet) open(fd int) {
	o.ended = false
	o.session.service.Loop.Attach(&o.pipe, fd, o)
}

// updateInterest sets what the pipe is polled for, from the outlet's state alone.
func (o *outlet) updateInterest() {
	read := false
	switch s := o.session; {
	case s.state == launching:
	case o.ended, o.capped():
		read = true // and dropped
	case s.kept():
		read = s.unheard() || o.received()-o.acked < reactor.BufferSize
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

// read reads from the pipe. It returns 0 if the pipe is empty, and also at its end, at which it
// closes the pipe.
func (o *outlet) read(b []byte) int {
	n, err := sys.Read(o.pipe.FD(), b)
	if n > 0 {
		return n
	}
	if err != unix.EAGAIN {
		o.closePipe() // at end of file; a terminal ends with EIO
	}
	return 0
}

// countRead counts n bytes read, and finishes the output if it has been drained.
func (o *outlet) countRead(n int) {
	o.total += uint64(n)
	if o.draining {
		if o.rest -= n; o.rest <= 0 || o.session.terminal && o.poll()&unix.POLLIN == 0 {
			o.finish()
		}
	}
}

// fillRing reads into the ring.
func (o *outlet) fillRing() {
	if o.ring == nil {
		if o.ring = o.session.service.holds.Get(); o.ring == nil {
			panic("agent: more kept processes than buffers")
		}
	}
	at := int(o.received() % reactor.BufferSize)
	n := reactor.BufferSize - at
	if !o.session.unheard() {
		n = min(n, reactor.BufferSize-int(o.received()-o.acked))
	}
	if n = o.withinCap(n); n == 0 {
		return
	}
	n = o.read(o.ring[at : at+n])
	if w := o.session.watcher; w != nil {
		w.Output(o.ring[at : at+n])
	}
	o.overwrite(n)
	o.countRead(n)
	o.session.show()
	o.releaseRing()
}

// overwrite counts the oldest bytes of a full ring as lost, because n new ones took their place.
func (o *outlet) overwrite(n int) {
	if o.received()+uint64(n)-o.acked <= reactor.BufferSize {
		return
	}
	o.acked = o.received() + uint64(n) - reactor.BufferSize
	if o.acked > o.sent {
		o.lost += o.acked - o.sent
		o.sent = o.acked
	}
}

// releaseRing returns an empty ring to the pool.
func (o *outlet) releaseRing() {
	if o.ring != nil && o.acked == o.received() {
		o.session.service.holds.Put(o.ring)
		o.ring = nil
	}
}

// withinCap returns n, or less if the cap allows no more.
func (o *outlet) withinCap(n int) int {
	if limit := o.session.outputCap; limit > 0 {
		return int(min(uint64(n), limit-o.received()))
	}
	return n
}

// discard reads output that is not wanted, so that its writer does not block.
func (o *outlet) discard() {
	n := o.read(o.session.service.Loop.Scratch())
	if !o.ended {
		o.dropped += uint64(n)
		o.countRead(n)
	}
}

// closePipe closes the pipe and finishes the output.
func (o *outlet) closePipe() {
	o.pipe.Close()
	o.finish()
}

// finish ends the output. Later output is read and dropped.
func (o *outlet) finish() {
	o.readable = false
	if !o.ended {
		o.ended = true
		o.updateInterest()
		o.session.checkEnd()
		o.session.queue()
		o.session.show()
	}
}

// checkEnd looks for the end of a pipe that is not polled, for want of credit.
func (o *outlet) checkEnd() {
	if o.ended {
		return
	}
	if state := o.poll(); state != 0 && state&unix.POLLIN == 0 {
		o.closePipe()
	}
}

// poll returns the pipe's state as poll(2) reports it.
func (o *outlet) poll() int16 {
	p := []unix.PollFd{{Fd: int32(o.pipe.FD()), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil {
		return unix.POLLIN // the next read shows the error
	}
	return p[0].Revents
}

// terminalHolds is more than a terminal's buffers hold: 4 KiB to be read, 8 KiB in flight, and
// rounding; pty_common_install in drivers/tty/pty.c. TIOCINQ does not count what is in flight.
const terminalHolds = 16 << 10

// drainBounded reads no more than the bytes now in the pipe. The process exited a while ago, so
// only its descendants could write more.
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

// addCredit adds n bytes of credit. A kept process also counts n bytes as acknowledged, and reuses
// their place in the ring.
func (o *outlet) addCredit(n uint32) {
	o.credit += uint64(n)
	if o.session.kept() {
		o.acked += min(uint64(n), o.sent-o.acked)
		o.limitCredit()
		o.releaseRing()
	}
	o.updateInterest()
}

// limitCredit limits a kept process's credit to what its ring can hold.
func (o *outlet) limitCredit() {
	if o.session.kept() {
		o.credit = min(o.credit, reactor.BufferSize-(o.sent-o.acked))
	}
}

// closeByHost handles the host's close. A process that writes on gets SIGPIPE.
func (o *outlet) closeByHost() {
	o.closedByHost = true
	o.dropHeld()
	o.closePipe()
}

// dropHeld drops what has not been acknowledged.
func (o *outlet) dropHeld() {
	o.sent = o.received()
	o.acked = o.sent
	o.releaseRing()
}

// canResume reports whether the ring still has the bytes from offset on.
func (o *outlet) canResume(offset uint64) bool {
	return o.closedByHost || offset >= o.acked && offset <= o.received()
}

// resumeAt continues at offset on a new connection. canResume has reported true.
func (o *outlet) resumeAt(offset uint64, credit uint32) {
	if !o.closedByHost {
		o.sent, o.acked = offset, offset
		o.releaseRing()
	}
	o.credit, o.closeSent = uint64(credit), false
	o.limitCredit()
	o.updateInterest()
}

// hasFrame reports whether produce can send a frame now.
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

// produce sends one frame, of output or the close, and reports whether it did. hasFrame has
// reported true.
func (o *outlet) produce() bool {
	s := o.session
	c := s.conn
	if o.ended && o.sent == o.received() {
		o.closeSent = true
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), s.seq, o.stream))
		return true
	}
	if o.bulk && o.credit >= wire.LeastSpliced {
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

// splice is produce without a copy. ok is false if the kernel cannot splice.
func (o *outlet) splice() (sent, ok bool) {
	if !o.grown {
		o.grown = true
		sys.GrowPipe(o.pipe.FD(), wire.MaxSpliced)
	}
	s := o.session
	most := o.withinCap(int(min(o.credit, wire.MaxSpliced)))
	n, full, err := s.conn.SpliceOutput(s.seq, o.stream, o.pipe.FD(), uint64(most))
	o.readable = full
	o.bulk = n >= wire.LeastSpliced
	switch {
	case n > 0:
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

// copyHeld copies the next bytes to send out of the ring, and returns how many.
func (o *outlet) copyHeld(b []byte) int {
	b = b[:min(uint64(len(b)), o.received()-o.sent)]
	o.copyFrom(o.sent, b)
	return len(b)
}

// release drops what is held. It closes the pipe unless it must still be read, for writers not to
// block.
func (o *outlet) release(pipe bool) {
	o.ended = true
	o.dropHeld()
	if pipe {
		o.pipe.Close()
	}
	o.updateInterest()
}
