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
	// Drained is called when everything queued was given to the kernel.
	Drained()
}

// Source is a long piece of output that is made as the far end takes it, and not held in memory. Nothing else is sent
// between its bytes.
type Source interface {
	// Fill writes the next bytes to b, which has room for [BufferSize], and says whether they are the last.
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

	in      []byte // pooled or nil; the input kept over
	kept    int    // bytes of it
	offer   bool   // in may hold what Input takes; it stopped because it was busy or paused
	paused  bool
	ended   bool // nothing more to read
	reoffer Timer

	out        []byte // pooled or nil
	head, tail int    // what of out is queued
	source     Source // under way; its bytes are in out
	last       bool   // out holds its last bytes
	sources    []Source
}

// Open starts reading from fd, a non-blocking socket, which the loop owns from now on. name is for errors.
func (s *Stream) Open(l *Loop, fd int, name string, h StreamHandler) {
	s.handler, s.buffers, s.name = h, l.buffers, name
	l.Attach(&s.Descriptor, fd, s)
	s.Want(Read)
}

// Ready implements [Handler].
func (s *Stream) Ready(ev Events) {
	if ev&Deaf != 0 {
		s.fail("epoll_ctl", unix.ENOMEM)
		return
	}
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
	}
}

// Failed implements [Failer], for the handler's sake.
func (s *Stream) Failed(value any, stack []byte) {
	s.drop()
	passOn(s.handler, value, stack)
}

// Busy reports whether the far end has to take something before more may be queued: Input must stop at the next
// message, and Write may not be called.
func (s *Stream) Busy() bool { return s.source != nil || s.tail-s.head > highWater }

// Idle reports whether nothing is queued.
func (s *Stream) Idle() bool { return s.source == nil && s.head == s.tail && len(s.sources) == 0 }

// Pause stops reading, and Input, until Resume.
func (s *Stream) Pause() {
	s.paused = true
	s.interest()
}

// Resume ends a Pause. Input is called in a later turn.
func (s *Stream) Resume() {
	s.paused = false
	s.interest()
}

// Space is room for n bytes, at most BufferSize-highWater, behind what is queued: append to it and give the result to Commit.
// The stream must not be busy.
func (s *Stream) Space(n int) []byte {
	if s.source != nil {
		panic("reactor: write into the middle of a source")
	}
	s.needOut()
	if len(s.out)-s.tail < n {
		s.tail = copy(s.out, s.out[s.head:s.tail])
		s.head = 0
	}
	return s.out[s.tail:s.tail]
}

// Commit queues what was appended to Space. It is sent by Flush, which follows every Input by itself.
func (s *Stream) Commit(b []byte) { s.tail += len(b) }

// Send queues a source behind everything queued so far, and flushes.
func (s *Stream) Send(src Source) {
	s.sources = append(s.sources, src)
	s.Flush()
}

// Close closes the stream. What is queued is lost; its sources learn of it. The handler hears nothing.
func (s *Stream) Close() {
	if s.loop != nil {
		s.drop()
	}
}

// drop releases everything.
func (s *Stream) drop() {
	s.reoffer.Stop()
	s.Descriptor.Close()
	if s.in != nil {
		s.buffers.Put(s.in)
	}
	if s.out != nil {
		s.buffers.Put(s.out)
	}
	s.in, s.out, s.kept, s.head, s.tail = nil, nil, 0, 0, 0
	source, sources := s.source, s.sources
	s.source, s.sources = nil, nil
	if source != nil {
		source.Sent(false)
	}
	for _, src := range sources {
		src.Sent(false)
	}
}
