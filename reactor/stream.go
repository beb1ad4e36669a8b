package reactor

import "golang.org/x/sys/unix"

// StreamHandler receives what a [Stream] reads.
type StreamHandler interface {
	// Input receives the bytes read so far and returns how many it took off the front. The stream
	// keeps the rest, and passes it again with more bytes behind it. If the stream was
	// [Stream.Busy] or paused, it passes the rest again as soon as it no longer is. After a
	// [Stream.Yield] it does so in the next turn. Otherwise Input must not leave a whole
	// [BufferSize] untaken. b is valid until Input returns.
	Input(b []byte) (taken int)
	// End is called when nothing more will be read. The error is nil at an orderly end of file,
	// after which output may go on. Otherwise the stream is closed by then, and queued output is
	// lost. An error may follow an orderly end. Neither comes twice.
	End(err error)
	// Drained is called when the kernel has taken all queued output, once each time.
	Drained()
}

// Source is a long piece of output that is produced as the far end takes it, instead of being held
// in memory. Its bytes are sent without others in between.
type Source interface {
	// Fill writes the next bytes to b, which has [BufferSize] bytes, and reports whether they are
	// the last. It may return 0 bytes only with the last.
	Fill(b []byte) (n int, last bool)
	// Sent is called once. whole reports whether the kernel took the last byte; if not, the stream
	// ended before.
	Sent(whole bool)
}

// highWater is the number of queued bytes above which a stream is busy. The rest of the buffer is
// for the reply that crosses the mark.
const highWater = BufferSize / 2

// Stream is a connected socket as a non-blocking byte stream with bounded queues. It has one buffer
// of input that the handler has not taken, and one of output that the kernel has not taken. An
// empty queue has no buffer.
//
// A busy stream is not read, so a far end that does not read cannot make it buffer more.
type Stream struct {
	Descriptor
	handler  StreamHandler
	diverter Diverter // or nil
	buffers  *Pool
	name     string

	readLimit  int    // the most bytes of one read; 0 for as many as there is room for
	in         []byte // pooled or nil; the input that was not taken
	kept       int    // how many bytes of it
	offer      bool   // Input may take more of in; it stopped because the stream was busy or paused
	stalled    bool   // the stream was busy or paused at some time during Input, or yielded
	inInput    bool   // Input is running, and may use in even after the stream is closed
	paused     bool
	ended      bool  // there is no more to read
	shut       bool  // the far end writes no more, and its last bytes were not read yet
	inputTimer Timer // runs until the rest of the input is passed again
	probeTimer Timer // runs while shut and not read

	out         []byte // pooled or nil
	head, tail  int    // the queued bytes of out
	source      Source // being sent; its bytes are in out
	last        bool   // out holds its last bytes
	sources     []Source
	inFlush     bool  // Flush is running, and may be called by a handler that it calls
	inFill      bool  // Fill is running, and may use out even after the stream is closed
	memoryTimer Timer // runs while the kernel has no memory for the queued bytes

	pipe    [2]int // of SpliceFrom; zero without a pipe
	spliced int    // bytes in the pipe, which are queued between out[:mark] and out[mark:]
	mark    int
	asked   bool // local is known
	local   bool // the socket is a Unix socket

	file       FileSource // source, if its next bytes are in a file
	unreadable bool       // the file of source cannot be read
}

// Open starts reading from fd, a non-blocking socket, which the loop owns from now on. name is for
// errors. s must be zero or closed, and no call of its handler may be running.
func (s *Stream) Open(l *Loop, fd int, name string, h StreamHandler) {
	if s.inInput || s.inFlush {
		panic("reactor: stream opened by its own handler")
	}
	l.Attach(&s.Descriptor, fd, s)
	s.handler, s.buffers, s.name = h, l.buffers, name
	s.paused, s.ended, s.shut, s.offer, s.readLimit = false, false, false, false, 0
	s.diverter = nil
	s.Want(Read)
}

// Ready implements [Handler].
func (s *Stream) Ready(ev Events) {
	if ev&Writable != 0 {
		s.Flush()
	}
	switch {
	case s.loop == nil:
	case ev&Readable != 0 && s.want&Read != 0:
		s.read()
	case ev&HungUp != 0:
		// The stream is not being read, so a read cannot tell.
		s.fail("read", unix.ECONNRESET)
	case ev&ShutDown != 0:
		s.shut = true
		s.probe()
	}
}

// Failed implements [Failer] for the stream's handler.
func (s *Stream) Failed(value any, stack []byte) {
	s.drop()
	passOn(s.handler, value, stack)
}

// Busy reports whether the far end must take some output before more may be queued. Input must then
// stop at the next message, and Space may not be called. A stream with a source is busy, because
// output queued now would follow it.
func (s *Stream) Busy() bool {
	return s.source != nil || len(s.sources) > 0 || s.tail-s.head > highWater
}

// Queued returns how many bytes of output wait, without those that sources have yet to produce.
func (s *Stream) Queued() int { return s.tail - s.head + s.spliced }

// Idle reports whether no output waits.
func (s *Stream) Idle() bool { return s.source == nil && s.Queued() == 0 && len(s.sources) == 0 }

// Pause stops reading, and calls of Input, until Resume. If the kernel reports meanwhile that the
// far end is gone, the stream ends with an error and unread bytes are lost.
func (s *Stream) Pause() {
	s.paused, s.stalled = true, true
	s.interest()
}

// Resume ends a Pause. Input is called in a later turn.
func (s *Stream) Resume() {
	s.paused = false
	s.interest()
}

// Yield ends this turn's Input. The handler calls it within Input and returns without having taken
// all the bytes. They are offered again in the next turn, after the events of other descriptors.
func (s *Stream) Yield() { s.stalled = true }

// ReadAtMost limits each read from now on to n bytes; 0 removes the limit. It lets a handler have
// the next input end at a certain byte.
func (s *Stream) ReadAtMost(n int) { s.readLimit = n }

// Space returns an empty slice with room for n bytes behind the queued ones. n is at most
// BufferSize-highWater. Append to it and pass the result to Commit. The stream must not be busy. If
// it is closed, the bytes are lost.
func (s *Stream) Space(n int) []byte {
	if s.loop == nil {
		return make([]byte, 0, n)
	}
	if s.Busy() || n > BufferSize-highWater {
		panic("reactor: write to a busy stream, or too long")
	}
	s.needOut()
	if len(s.out)-s.tail < n {
		s.tail = copy(s.out, s.out[s.head:s.tail])
		s.mark -= s.head
		s.head = 0
	}
	return s.out[s.tail:s.tail]
}

// Commit queues the bytes that were appended to Space. Flush sends them. It runs after every Input.
func (s *Stream) Commit(b []byte) {
	if s.loop == nil || len(b) == 0 {
		return
	}
	if len(b) > len(s.out)-s.tail || &b[0] != &s.out[s.tail] {
		panic("reactor: commit of what is not the stream's space")
	}
	s.tail += len(b)
	s.stalled = s.stalled || s.Busy()
}

// Send queues a source behind everything queued so far, and flushes. The stream may be busy. If it
// is closed, the source is told at once.
func (s *Stream) Send(src Source) {
	if s.loop == nil {
		src.Sent(false)
		return
	}
	s.sources = append(s.sources, src)
	s.stalled = true
	s.Flush()
}

// Close closes the stream without calling its handler. Queued output is lost, and sources are told.
func (s *Stream) Close() {
	if s.loop != nil {
		s.drop()
	}
}

// drop releases everything except a buffer that a running handler may use. The caller of that
// handler releases it.
func (s *Stream) drop() {
	s.inputTimer.Stop()
	s.probeTimer.Stop()
	s.memoryTimer.Stop()
	s.Descriptor.Close()
	s.kept, s.offer, s.head, s.tail = 0, false, 0, 0
	s.dropPipe()
	if !s.inInput {
		s.freeIn()
	}
	if !s.inFill {
		s.freeOut()
	}
	source, sources := s.source, s.sources
	s.source, s.sources, s.file = nil, nil, nil
	if source != nil {
		s.cancel(source)
	}
	for _, src := range sources {
		s.cancel(src)
	}
}

// cancel tells a source that it is not sent. If it panics, the others are still told.
func (s *Stream) cancel(src Source) {
	defer contain(s, nil)
	src.Sent(false)
}

func (s *Stream) freeIn() {
	if s.in != nil {
		s.buffers.Put(s.in)
		s.in = nil
	}
}

func (s *Stream) freeOut() {
	if s.out != nil {
		s.buffers.Put(s.out)
		s.out = nil
	}
}
