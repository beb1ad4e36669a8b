package reactor

import "golang.org/x/sys/unix"

// StreamHandler is who receives what a [Stream] reads.
type StreamHandler interface {
	// Input is given the bytes that are there and returns how many it took off their front. The rest is kept, and
	// given again with more behind it; if it stopped because the stream is [Stream.Busy] or paused, it is given again as
	// soon as that is over. It never leaves a whole [BufferSize] untaken otherwise. b is valid until Input returns.
	Input(b []byte) (taken int)
	// End is called when nothing more will be read. A nil error is the far end's orderly end; writing may go on. With any other the
	// stream is closed already, and what was queued is lost. The first may be followed by the second, and neither comes twice.
	End(err error)
	// Drained is called when everything queued was given to the kernel, once for each time that there was something.
	Drained()
}

// Source is a long piece of output that is made as the far end takes it, and not held in memory. Nothing else is sent
// between its bytes.
type Source interface {
	// Fill writes the next bytes to b, which has room for [BufferSize], and says whether they are the last. Only the last may be none.
	Fill(b []byte) (n int, last bool)
	// Sent is called once: true when the kernel took the last byte, false when the stream ended before.
	Sent(whole bool)
}

// highWater is the number of queued bytes above which a stream is busy. What is left of the buffer is for the reply that
// is being written when the mark is passed.
const highWater = BufferSize / 2

// Stream is a non-blocking byte stream, a connected socket, with bounded queues both ways: one buffer of input that is
// not yet taken, one buffer of output that the kernel has not yet taken. It holds neither while there is nothing in it.
//
// A busy stream is not read from: a far end that does not read is not buffered for.
type Stream struct {
	Descriptor
	handler StreamHandler
	buffers *Pool
	name    string

	most    int    // of one read, in bytes; 0: as much as there is room for
	in      []byte // pooled or nil; the input kept over
	kept    int    // bytes of it
	offer   bool   // in may hold what Input takes; it stopped because it was busy or paused
	stalled bool   // it was one of these at some time during Input, or yielded
	lent    bool   // Input is at work, perhaps on in: it stays its even if the stream is closed
	paused  bool
	ended   bool // nothing more to read
	shut    bool // nothing more comes, and what did is still to be read
	reoffer Timer
	probing Timer // while shut and not read from

	out        []byte // pooled or nil
	head, tail int    // what of out is queued
	source     Source // under way; its bytes are in out
	last       bool   // out holds its last bytes
	sources    []Source
	flushing   bool  // a handler called by Flush may call it again
	filling    bool  // Fill is at work on out: it stays its even if the stream is closed
	starved    Timer // while the kernel has no memory for what is queued

	pipe    [2]int // for SpliceFrom, or zero
	spliced int    // bytes in it; they are queued between out[:mark] and out[mark:]
	mark    int
	asked   bool // local is known
	local   bool // it is a Unix socket

	file       FileSource // source, if its next bytes lie in a file
	unreadable bool       // the file of source cannot be read
}

// Open starts reading from fd, a non-blocking socket, which the loop owns from now on. name is for errors. s must be zero or closed,
// and not in the middle of a call to its handler.
func (s *Stream) Open(l *Loop, fd int, name string, h StreamHandler) {
	if s.lent || s.flushing {
		panic("reactor: stream opened by its own handler")
	}
	l.Attach(&s.Descriptor, fd, s)
	s.handler, s.buffers, s.name = h, l.buffers, name
	s.paused, s.ended, s.shut, s.offer, s.most = false, false, false, false, 0
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
		// Not reading, so this is the only way to learn of it.
		s.fail("read", unix.ECONNRESET)
	case ev&ShutDown != 0:
		s.shut = true
		s.probe()
	}
}

// Failed implements [Failer], for the handler's sake.
func (s *Stream) Failed(value any, stack []byte) {
	s.drop()
	passOn(s.handler, value, stack)
}

// Busy reports whether the far end has to take something before more may be queued: Input must stop at the next
// message, and Space may not be called. A source that is under way or waits makes it busy: what is written goes behind it.
func (s *Stream) Busy() bool {
	return s.source != nil || len(s.sources) > 0 || s.tail-s.head > highWater
}

// Queued is how many bytes of output wait. What a source still has to give is not among them.
func (s *Stream) Queued() int { return s.tail - s.head + s.spliced }

// Idle reports whether nothing is queued.
func (s *Stream) Idle() bool { return s.source == nil && s.Queued() == 0 && len(s.sources) == 0 }

// Pause stops reading, and Input, until Resume. If the far end goes away for good meanwhile, and the kernel says so, the stream ends
// with an error and what was not yet read is lost.
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

// ReadAtMost bounds the reads from now on to n bytes each; 0 is as much as there is room for. It is for a handler that gets on better if the
// next input ends at a certain byte.
func (s *Stream) ReadAtMost(n int) { s.most = n }

// Space is room for n bytes, at most BufferSize-highWater, behind what is queued: append to it and give the result to Commit.
// The stream must not be busy. If it is closed, what is written is lost.
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

// Commit queues what was appended to Space. It is sent by Flush, which follows every Input by itself.
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

// Send queues a source behind everything queued so far, and flushes. It may be called while the stream is busy. If it is closed, the
// source is told at once.
func (s *Stream) Send(src Source) {
	if s.loop == nil {
		src.Sent(false)
		return
	}
	s.sources = append(s.sources, src)
	s.stalled = true
	s.Flush()
}

// Close closes the stream. What is queued is lost; its sources learn of it. The handler hears nothing.
func (s *Stream) Close() {
	if s.loop != nil {
		s.drop()
	}
}

// drop releases everything, save a buffer that a handler is at work on; whoever called the handler releases that.
func (s *Stream) drop() {
	s.reoffer.Stop()
	s.probing.Stop()
	s.starved.Stop()
	s.Descriptor.Close()
	s.kept, s.offer, s.head, s.tail = 0, false, 0, 0
	s.dropPipe()
	if !s.lent {
		s.putIn()
	}
	if !s.filling {
		s.putOut()
	}
	source, sources := s.source, s.sources
	s.source, s.sources, s.file = nil, nil, nil
	if source != nil {
		s.lose(source)
	}
	for _, src := range sources {
		s.lose(src)
	}
}

// lose tells a source that it is not sent. The others are told even if this one panics.
func (s *Stream) lose(src Source) {
	defer contain(s, nil)
	src.Sent(false)
}

func (s *Stream) putIn() {
	if s.in != nil {
		s.buffers.Put(s.in)
		s.in = nil
	}
}

func (s *Stream) putOut() {
	if s.out != nil {
		s.buffers.Put(s.out)
		s.out = nil
	}
}
