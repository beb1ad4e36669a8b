package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

// maxUnspooled limits an output, in bytes, if no directory takes its spool file.
const maxUnspooled = 1 << 20

// capture reads one output pipe of a command until its end. Output stays in memory up to one
// buffer, then goes to a spool file; beyond the limit it is read and dropped. So a command never
// blocks on its output, unless a host takes it in chunks.
type capture struct {
	pipe    reactor.Descriptor
	service *Service
	command *command
	chunks  *chunks // sends the output at once instead of keeping it; nil for none
	state   captureState
	rest    int // bytes that draining still reads
	held    int // the agent's own write end, see closeWriteEnd; 0 for none

	buf     []byte // of service.captures, or nil
	spool   int    // file descriptor, or -1
	limit   int64  // of kept, in bytes
	kept    int64  // bytes in buf or in spool
	dropped int64  // bytes read beyond the limit
	last    byte   // the last byte kept
}

// captureState is how the output of a command is read. It only goes forward.
type captureState uint8

const (
	// reading: output is kept, or sent in chunks, until the pipe ends.
	reading captureState = iota
	// draining: the command has exited and left the pipe open to other processes. No more than rest
	// bytes are read: those that were in the pipe then.
	draining
	// dropping: the result is made, and later output is read and dropped.
	dropping
	// ended: the pipe is closed.
	ended
)

// open creates the pipe and starts to read it. The caller closes writeEnd after the fork.
func (o *capture) open(s *Service, cmd *command) (writeEnd int, err error) {
	limit := min(framing.MaxOutput, int64(s.Spool)<<20)
	*o = capture{service: s, command: cmd, state: reading, spool: -1, limit: limit}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		o.state = ended
		return -1, sys.NewError("pipe", "command", err)
	}
	// Only the read end is non-blocking: programs do not expect EAGAIN on their output.
	sys.SetNonblock(p[0])
	s.Loop.Attach(&o.pipe, p[0], o)
	o.pipe.Want(reactor.Read)
	return p[1], nil
}

// Ready implements [reactor.Handler]. It reads at most one buffer, so that others get their turn.
func (o *capture) Ready(reactor.Events) {
	if o.chunks != nil && o.state < dropping {
		o.chunks.onReadable()
		return
	}
	b := o.service.Loop.Scratch()
	if o.service.Disk.Held() && o.state < dropping && o.kept < o.limit {
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
	case o.state == dropping:
	default:
		o.add(b[:n])
		o.countRead(n)
	}
}

// readEnd closes the write end that the agent held while the process ran, and reads what is left.
// Without that end, stdout, stderr and the process would each wake the agent as they end. Until the
// exit, the end of an output changes nothing.
func (o *capture) readEnd() {
	o.closeWriteEnd()
	// The second read finds the end behind the last bytes. While the disk is held, an output may
	// have to wait, and its event will tell.
	for range 2 {
		if o.state < ended && !o.service.Disk.Held() {
			o.Ready(reactor.Readable)
		}
	}
}

// closeWriteEnd closes the agent's own write end, if it holds one.
func (o *capture) closeWriteEnd() {
	if o.held != 0 {
		sys.Close(o.held)
		o.held = 0
	}
}

// countRead counts n bytes read, and checks whether the output has been drained.
func (o *capture) countRead(n int) {
	if o.rest -= n; o.drained() {
		o.command.checkEnd()
	}
}

// noteEmpty records that chunks found the pipe empty. Another process may have read the rest.
func (o *capture) noteEmpty() {
	o.rest = 0
	o.pipe.Want(reactor.Read)
	o.countRead(0)
}

// drainBounded reads no more than the bytes now in the pipe. It reports whether they have all been
// read. The command may have written them before its exit, so they belong to its output. Each call
// counts again, because another process may read from the pipe too.
func (o *capture) drainBounded() bool {
	if o.state < dropping {
		n, _ := unix.IoctlGetInt(o.pipe.FD(), unix.TIOCINQ)
		if o.state == draining {
			n = min(n, o.rest)
		}
		o.state, o.rest = draining, n
	}
	return o.drained()
}

// drained reports whether the result waits for no more of the output.
func (o *capture) drained() bool {
	return o.state >= dropping || o.state == draining && o.rest <= 0
}

// roomInMemory returns how many more bytes fit without a file.
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

// resume reads on, after a thaw of the disk or once the result is made.
func (o *capture) resume() {
	switch {
	case o.state == ended:
	case o.chunks != nil && o.state < dropping:
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

// finish closes the pipe at its end, and lets the command check whether it has ended.
func (o *capture) finish() {
	o.close()
	o.command.checkEnd()
}

// close closes the pipe.
func (o *capture) close() {
	o.state = ended
	o.pipe.Close()
	o.closeWriteEnd()
}

// add keeps the part of b that is within the limit, and counts the rest as dropped.
func (o *capture) add(b []byte) {
	n := o.store(b)
	o.dropped += int64(len(b) - n)
	if n > 0 {
		o.kept += int64(n)
		o.last = b[n-1]
	}
}

// store appends b to the kept output, in memory or on disk. It returns how many bytes it kept. A
// full disk ends the keeping, not the reading.
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
		// Nothing is kept after this point, even if there is room again, because of the hole.
		b = b[:room]
		o.limit = o.kept + room
	}
	n, err := files.WriteAt(o.spool, b, o.kept)
	o.service.spooled += int64(n)
	if err != nil {
		o.service.Log.Warn("output truncated", "pid", sys.Num(o.command.process.PID()),
			"error", err.Error())
		o.limit = o.kept + int64(n)
	}
	return n
}

// moveToSpool moves the output from memory to a spool file, and appends b. It returns how many
// bytes of b it kept.
func (o *capture) moveToSpool(b []byte) int {
	held := o.buf[:o.kept]
	if size := o.kept + int64(len(b)); size > o.service.spoolRoom() {
		return o.fillBuffer(b)
	}
	fd, err := o.service.Disk.OpenSpool(held, b)
	if err != nil {
		// A memfd takes a little instead. Its pages are the kernel's, not this process's.
		o.service.Log.Warn("output kept in memory", "pid", sys.Num(o.command.process.PID()),
			"error", err.Error())
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

// fillBuffer keeps the part of b that fits into memory, and drops all later output.
func (o *capture) fillBuffer(b []byte) int {
	n := copy(o.buf[o.kept:], b)
	o.limit = o.kept + int64(n)
	return n
}

// spoolRoom returns how many more bytes of output may go to disk.
func (s *Service) spoolRoom() int64 { return max(int64(s.SpoolTotal)<<20-s.spooled, 0) }

// releaseBuffer returns the buffer to the pool, if there is one.
func (o *capture) releaseBuffer() {
	if o.buf != nil {
		o.service.captures.Put(o.buf)
		o.buf = nil
	}
}

// readAt fills b with kept output from offset on. The caller asks for no more than is kept.
func (o *capture) readAt(b []byte, offset int64) {
	if o.spool < 0 {
		copy(b, o.buf[offset:o.kept])
		return
	}
	for len(b) > 0 {
		n, err := sys.Pread(o.spool, b, offset)
		if err != nil || n <= 0 {
			// The frame's head has announced these bytes, so zeros are sent.
			o.service.Log.Error("output lost", "pid", sys.Num(o.command.process.PID()),
				"bytes", sys.Num(len(b)))
			clear(b)
			return
		}
		b = b[n:]
		offset += int64(n)
	}
}

// drop keeps no more of the output. A pipe that has not ended is still read, because the processes
// that have it open must not block.
func (o *capture) drop() { o.state = max(o.state, dropping) }

// release frees the buffer and the spool file. It drops later output.
func (o *capture) release() {
	o.drop()
	o.releaseBuffer()
	o.closeWriteEnd()
	if o.spool >= 0 {
		o.service.Disk.CloseUnlinked(o.spool)
		o.spool = -1
		o.service.spooled -= o.kept
	}
	o.kept = 0
}
