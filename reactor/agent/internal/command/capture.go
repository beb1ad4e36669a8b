package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxUnspooled limits an output, in bytes, if no directory takes its spool file.
	maxUnspooled = 1 << 20
	// leastTail is the least room in a buffer, in bytes, with which output is read there.
	leastTail = 16 << 10
)

// capture reads one output pipe of a command until its end. Output stays in memory up to one
// buffer. A full buffer goes to a spool file as a whole, because each small write would take a file
// system nearly as long. Beyond the limit, output is read and dropped. So a command never blocks on
// its output, unless a host takes it in chunks.
type capture struct {
	pipe    reactor.Descriptor
	service *Service
	command *command
	chunks  *chunks // sends the output at once instead of keeping it; nil for none
	state   captureState
	rest    int // bytes that draining still reads
	held    int // the agent's own write end, see closeWriteEnd; 0 for none

	spool   int    // file descriptor, or -1
	buf     []byte // of service.captures, or nil; what is kept behind spool
	limit   int64  // of kept, in bytes
	kept    int64  // bytes in spool and buf
	spooled int64  // bytes in spool
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
	b, direct := o.service.Loop.Scratch(), false
	switch {
	case o.state == dropping || o.kept == o.limit:
	case o.service.Disk.Held():
		if b = b[:o.roomInMemory()]; len(b) == 0 {
			o.pipe.Want(0)
			o.service.Disk.OnRelease(o.resume)
			return
		}
	default:
		if tail := o.tail(); len(tail) >= leastTail {
			b, direct = tail, true
		}
	}
	n, err := sys.Read(o.pipe.FD(), b)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n == 0:
		o.finish()
	case o.state == dropping:
	default:
		if direct {
			o.count(n)
			o.last = b[n-1]
		} else {
			o.add(b[:n])
		}
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
	if o.buf == nil {
		if o.buf = o.service.captures.Get(); o.buf == nil {
			return 0
		}
	}
	return reactor.BufferSize - (o.kept - o.spooled)
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
	before := o.kept
	o.store(b[:min(int64(len(b)), o.limit-o.kept)])
	n := int(o.kept - before)
	o.dropped += int64(len(b) - n)
	if n > 0 {
		o.last = b[n-1]
	}
}

// store appends b to the kept output, as far as there is room. Without room the limit becomes what
// is kept. So nothing is kept after a hole, and a full disk ends the keeping, not the reading.
func (o *capture) store(b []byte) {
	s := o.service
	if room := s.spoolRoom(); o.spool >= 0 && room < int64(len(b)) {
		b = b[:room]
		o.limit = o.kept + room
	}
	if len(b) == 0 {
		return
	}
	if o.buf == nil && (o.spool < 0 || s.captures.Free() > 1) {
		o.buf = s.captures.Get()
	}
	if o.buf != nil {
		n := copy(o.buf[o.kept-o.spooled:], b)
		o.count(n)
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	if o.spool < 0 && o.kept+int64(len(b)) > s.spoolRoom() || !o.flush() {
		o.limit = o.kept
		return
	}
	if o.buf != nil {
		o.count(copy(o.buf, b))
		return
	}
	n := o.spill(b)
	o.count(n)
	o.spooled = o.kept
	if n < len(b) {
		o.limit = o.kept
	}
}

// flush writes a full buffer to the spool file, and reports whether the file took all of it. It
// releases the last buffer of all, for the first bytes of another output.
func (o *capture) flush() bool {
	if o.spill(o.buf) < len(o.buf) {
		return false
	}
	o.spooled = o.kept
	if o.service.captures.Free() == 0 {
		o.releaseBuffer()
	}
	return true
}

// tail returns the rest of the buffer, for a read without a copy. If the output is on disk already,
// it empties a full buffer.
func (o *capture) tail() []byte {
	room := o.limit - o.kept
	if o.spool >= 0 {
		room = min(room, o.service.spoolRoom())
		if o.buf != nil && o.kept-o.spooled == reactor.BufferSize && !o.flush() {
			o.limit = o.kept
			return nil
		}
	}
	if o.buf == nil {
		return nil
	}
	b := o.buf[o.kept-o.spooled:]
	return b[:min(int64(len(b)), room)]
}

// count counts n more bytes as kept. All of an output with a spool file counts as being on disk.
func (o *capture) count(n int) {
	o.kept += int64(n)
	if o.spool >= 0 {
		o.service.spooled += int64(n)
	}
}

// spill appends b to the spool file, and returns how many bytes it wrote.
func (o *capture) spill(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if o.spool < 0 {
		return o.openSpool(b)
	}
	n, err := files.WriteAt(o.spool, b, o.spooled)
	if err != nil {
		o.service.Log.Warn("output truncated", "pid", sys.Num(o.command.process.PID()),
			"error", err.Error())
	}
	return n
}

// openSpool is spill for the first bytes.
func (o *capture) openSpool(b []byte) (n int) {
	fd, err := o.service.Disk.OpenSpool(b)
	if err != nil {
		// A memfd takes a little instead. Its pages are the kernel's, not this process's.
		o.service.Log.Warn("output kept in memory", "pid", sys.Num(o.command.process.PID()),
			"error", err.Error())
		o.limit = min(o.limit, maxUnspooled)
		if fd, err = unix.MemfdCreate("output", unix.MFD_CLOEXEC); err == nil {
			err = files.WriteStart(fd, b)
		}
	}
	if err != nil {
		return 0
	}
	o.spool = fd
	o.service.spooled += o.kept
	return len(b)
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
	for len(b) > 0 {
		if offset >= o.spooled {
			copy(b, o.buf[offset-o.spooled:o.kept-o.spooled])
			return
		}
		n, err := sys.Pread(o.spool, b[:min(int64(len(b)), o.spooled-offset)], offset)
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
	o.kept, o.spooled = 0, 0
}
