package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

// maxUnspooled is the most bytes kept of an output when no directory takes a spool file.
const maxUnspooled = 1 << 20

// capture reads one output pipe of a command to its end. The first buffer of it is held in memory, the rest in a
// spool file, and what is beyond the limit is read and dropped, so that the command never waits for the agent.
type capture struct {
	pipe    reactor.Descriptor
	service *Service
	command *command // which is told of the end
	chunks  *chunks  // where the output goes instead of being held; nil if it is held
	buf     []byte   // of service.captures, or nil
	spool   int      // file descriptor, or -1
	limit   int64    // of kept

	kept    int64 // bytes held, in buf or in spool
	dropped int64 // bytes read and not held, up to the decision
	last    byte  // the last byte held
	ended   bool  // nothing more will come
	late    bool  // its end is not waited for any more, but for rest bytes that are in the pipe
	rest    int
	decided bool // what comes now is of no interest
}

// open makes the pipe and begins to read it. The caller closes the end for writing that it gets.
func (o *capture) open(s *Service, cmd *command) (writeEnd int, err error) {
	*o = capture{service: s, command: cmd, spool: -1, limit: min(framing.MaxOutput, int64(s.Spool)<<20)}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		o.ended = true
		return -1, sys.NewError("pipe", "command", err)
	}
	// Only our end: a command does not expect an output that is not ready.
	sys.SetNonblock(p[0])
	s.Loop.Attach(&o.pipe, p[0], o)
	o.pipe.Want(reactor.Read)
	return p[1], nil
}

// Ready implements [reactor.Handler]: it takes what is there, at most a buffer.
func (o *capture) Ready(reactor.Events) {
	if o.chunks != nil && !o.decided {
		o.chunks.onReadable()
		return
	}
	b := o.service.Loop.Scratch()
	if o.service.Disk.Held() && !o.decided && o.kept < o.limit {
		if b = b[:o.roomInMemory()]; len(b) == 0 {
			o.pipe.Want(0)
			o.service.Disk.OnRelease(o.resume)
			return
		}
	}
	n, err := sys.Read(o.pipe.FD(), b)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n == 0:
		o.finish()
	case o.decided:
	default:
		o.add(b[:n])
		o.countRead(n)
	}
}

// took counts what was read.
func (o *capture) countRead(n int) {
	if o.rest -= n; o.drained() {
		o.command.checkEnd()
	}
}

// dry is called when chunks found the pipe empty. Another that has the pipe may have read what was waited for.
func (o *capture) noteEmpty() {
	o.rest = 0
	o.pipe.Want(reactor.Read)
	o.countRead(0)
}

// hurry is called when the end has been waited for long enough, again and again until there is nothing more to wait for, which it reports. What
// is in the pipe by then is part of the output: the command may have written it before its exit. It is counted anew each time, for another
// who has the pipe may read from it.
func (o *capture) drainBounded() bool {
	if !o.ended {
		n, _ := unix.IoctlGetInt(o.pipe.FD(), unix.TIOCINQ)
		if o.late {
			n = min(n, o.rest)
		}
		o.late, o.rest = true, n
	}
	return o.drained()
}

// over reports whether nothing more is waited for.
func (o *capture) drained() bool { return o.ended || o.late && o.rest <= 0 }

// memory is how much more can be held without a file.
func (o *capture) roomInMemory() int64 {
	if o.spool >= 0 {
		return 0
	}
	if o.buf == nil {
		if o.buf = o.service.captures.Get(); o.buf == nil {
			return 0
		}
	}
	return reactor.BufferSize - o.kept
}

// resume reads on after a thaw.
func (o *capture) resume() {
	switch {
	case o.ended:
	case o.chunks != nil && !o.decided:
		o.chunks.onReadable()
	default:
		o.pipe.Want(reactor.Read)
	}
}

// Failed implements [reactor.Failer].
func (o *capture) Failed(value any, stack []byte) {
	o.service.Log.Panic("command output", value, stack)
	o.finish()
}

func (o *capture) finish() {
	o.close()
	o.command.checkEnd()
}

// close stops reading.
func (o *capture) close() {
	o.ended = true
	o.pipe.Close()
}

// keep holds on to b, or to what of it is within the limit.
func (o *capture) add(b []byte) {
	n := o.store(b)
	o.dropped += int64(len(b) - n)
	if n > 0 {
		o.kept += int64(n)
		o.last = b[n-1]
	}
}

// hold puts b behind what is held, in memory or on disk, and returns how much of it. A disk that is full ends what is kept, and
// not the reading.
func (o *capture) store(b []byte) int {
	if o.kept >= o.limit {
		return 0
	}
	if o.spool < 0 && o.buf == nil {
		o.buf = o.service.captures.Get()
	}
	b = b[:min(int64(len(b)), o.limit-o.kept)]
	switch {
	case o.spool >= 0:
	case o.buf != nil && o.kept+int64(len(b)) <= reactor.BufferSize:
		return copy(o.buf[o.kept:], b)
	default:
		return o.moveToSpool(b)
	}
	if room := o.service.spoolRoom(); room < int64(len(b)) {
		// Later output is dropped even if there is room again by then, because it would follow a hole.
		b = b[:room]
		o.limit = o.kept + room
	}
	n, err := files.WriteAt(o.spool, b, o.kept)
	o.service.spooled += int64(n)
	if err != nil {
		o.service.Log.Warn("output truncated", "pid", sys.Num(o.command.process.PID()), "error", err.Error())
		o.limit = o.kept + int64(n)
	}
	return n
}

// toSpool moves what is held in memory to a file, with b behind it.
func (o *capture) moveToSpool(b []byte) int {
	held := o.buf[:o.kept]
	if size := o.kept + int64(len(b)); size > o.service.spoolRoom() {
		return o.fillBuffer(b)
	}
	fd, err := o.service.Disk.OpenSpool(held, b)
	if err != nil {
		// No directory takes a file. Memory of the kernel's, not of this process, takes a little.
		o.service.Log.Warn("no directory for output", "pid", sys.Num(o.command.process.PID()), "error", err.Error())
		o.limit = min(o.limit, maxUnspooled)
		if fd, err = unix.MemfdCreate("output", unix.MFD_CLOEXEC); err == nil {
			err = files.WriteStart(fd, held, b)
		}
	}
	if err != nil {
		return o.fillBuffer(b)
	}
	o.spool = fd
	o.service.spooled += o.kept + int64(len(b))
	o.releaseBuffer()
	return len(b)
}

// fillUp puts what the buffer has room for behind what is held, and ends what is kept: there is no place for more.
func (o *capture) fillBuffer(b []byte) int {
	n := copy(o.buf[o.kept:], b)
	o.limit = o.kept + int64(n)
	return n
}

// spoolRoom returns how many bytes of output may still be put on disk.
func (s *Service) spoolRoom() int64 { return int64(s.SpoolTotal)<<20 - s.spooled }

// giveBack returns the buffer, if there is one.
func (o *capture) releaseBuffer() {
	if o.buf != nil {
		o.service.captures.Put(o.buf)
		o.buf = nil
	}
}

// read copies what is held from offset on to b, which it fills: there is as much as kept says.
func (o *capture) readAt(b []byte, offset int64) {
	if o.spool < 0 {
		copy(b, o.buf[offset:o.kept])
		return
	}
	for len(b) > 0 {
		n, err := sys.Pread(o.spool, b, offset)
		if err != nil || n <= 0 {
			// The frame has promised these bytes, and there is nothing else to send.
			o.service.Log.Error("output lost", "pid", sys.Num(o.command.process.PID()), "bytes", sys.Num(len(b)))
			clear(b)
			return
		}
		b = b[n:]
		offset += int64(n)
	}
}

// release gives back what holds the output. The pipe is read on, if it has not ended.
func (o *capture) release() {
	o.decided = true
	o.releaseBuffer()
	if o.spool >= 0 {
		o.service.Disk.CloseUnlinked(o.spool)
		o.spool = -1
		o.service.spooled -= o.kept
	}
	o.kept = 0
}
