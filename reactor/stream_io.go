package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// read takes what is there, at most one buffer.
func (s *Stream) read() {
	buf := s.loop.scratch
	if s.in != nil {
		buf = s.in
	}
	room := buf[s.kept:]
	if s.most > 0 {
		room = room[:min(len(room), s.most)]
	}
	n, err := recv(s.fd, room)
	switch judge(err) {
	case fine:
	case again, later:
		return // if there is something, the next wait says so
	default:
		s.fail("read", err)
		return
	}
	if n == 0 {
		s.ended = true
		s.interest()
		s.handler.End(nil)
		s.probe() // it may be no orderly end, but the end of all
		return
	}
	s.take(buf[:s.kept+n])
}

// take offers b to the handler and keeps what it leaves. b is the kept input itself, or the loop's scratch.
func (s *Stream) take(b []byte) {
	taken := s.input(b)
	if s.loop == nil {
		return
	}
	rest := b[taken:]
	if len(rest) > 0 && s.in == nil {
		if s.in = s.buffers.Get(); s.in == nil {
			s.fail("read", errNoBuffer)
			return
		}
	}
	if s.kept = copy(s.in, rest); s.kept == 0 {
		s.putIn()
	}
	s.offer = s.kept > 0 && (s.stalled || s.paused || s.Busy())
	if s.kept == BufferSize && !s.offer {
		// To read into no room would look like the end.
		s.fail("read", unix.EMSGSIZE)
		return
	}
	s.Flush()
}

// input calls Input, which may close the stream, or panic, and still have b until then.
func (s *Stream) input(b []byte) int {
	s.lent = true
	s.stalled = s.paused || s.Busy()
	defer func() {
		s.lent = false
		if s.loop == nil {
			s.putIn()
		}
	}()
	return s.handler.Input(b)
}

// probePause is how late it may be noticed that a far end is gone which had said before that it writes no more.
const probePause = time.Second

// probe asks whether the far end is still there, which wrote its last. A send of nothing tells: on a vsock connection that is over it is EPIPE,
// though epoll never says that it is hung up, and for as long as there is something unread and no room to write only that nothing more
// comes. That it said before, so it is asked again and again.
func (s *Stream) probe() {
	if s.loop == nil {
		return
	}
	_, err := send(s.fd, nil)
	switch judge(err) {
	case gone, broken:
		s.fail("write", err)
		return
	}
	s.interest()
}

// Expired implements [TimerHandler]: what was left while the stream was busy is offered again, or the far end is looked for again, or
// memory.
func (s *Stream) Expired(t *Timer) {
	switch t {
	case &s.probing:
		s.probe()
		return
	case &s.starved:
		s.Flush()
		return
	}
	if s.loop != nil && s.offer && !s.paused && !s.Busy() {
		s.offer = false
		s.take(s.in[:s.kept])
	}
}

// Flush gives the kernel what is queued, at most about one buffer of it; the rest goes when there is room. Within a call that Flush
// itself makes it does nothing, for what is queued there is seen to anyway.
func (s *Stream) Flush() {
	if s.loop == nil || s.flushing {
		return
	}
	// Anybody's handler may be the one that calls, and a panic in this stream's must not be taken for one of that.
	defer contain(s, nil)
	if s.Idle() {
		s.putOut() // Space was asked for and not used
	} else {
		s.flush()
	}
	if s.loop != nil {
		s.interest()
	}
}

const (
	// writeBatch is the most writes of one Flush, however little each takes.
	writeBatch = 16
	// smallWrite is what is written when the kernel has no memory for more. A vsock packet is one piece of memory on many kernels, and the search for
	// one of more than 32 KiB is soon given up (PAGE_ALLOC_COSTLY_ORDER).
	smallWrite = BufferSize / 8
	// starvedPause is how long to wait when it has none for that either. The socket stays writable, so without a pause the loop would spin.
	starvedPause = 100 * time.Millisecond
)

func (s *Stream) flush() {
	s.flushing = true
	defer func() { s.flushing = false }()
	for sent, writes := 0, 0; sent < BufferSize && writes < writeBatch && !s.Idle(); writes++ {
		if s.Queued() == 0 {
			s.refill()
			if s.loop == nil {
				return
			}
		}
		if s.Queued() > 0 || s.file != nil {
			n, err := s.give()
			switch judge(err) {
			case fine:
				sent += n
				s.starved.Stop()
			case again:
			case later:
				return
			case exhausted:
				s.loop.Start(&s.starved, starvedPause, s)
				return
			default:
				s.fail("write", err)
				return
			}
		}
		if s.Queued() == 0 && s.source != nil && s.last {
			src := s.source
			s.source = nil
			src.Sent(true)
			if s.loop == nil {
				return
			}
		}
	}
	if s.Idle() {
		s.putOut()
		s.handler.Drained()
	}
}

// refill puts the next bytes of the first source into the empty output buffer. There is one.
func (s *Stream) refill() {
	if s.source == nil {
		s.source = s.sources[0]
		n := copy(s.sources, s.sources[1:])
		s.sources[n] = nil
		s.sources = s.sources[:n]
		s.unreadable = false
	}
	if f, ok := s.source.(FileSource); ok && !s.unreadable && s.isLocal() {
		if _, _, size := f.File(); size > 0 {
			s.file, s.last = f, false
			return
		}
	}
	s.needOut()
	n, last := s.fill()
	if s.loop == nil {
		return
	}
	if n < 0 || n > len(s.out) || n == 0 && !last {
		panic("reactor: source filled nothing, or more than there is room for")
	}
	s.head, s.tail, s.last = 0, n, last
}

// fill calls Fill, which may close the stream, or panic, and still have the buffer until then.
func (s *Stream) fill() (n int, last bool) {
	s.filling = true
	defer func() {
		s.filling = false
		if s.loop == nil {
			s.putOut()
		}
	}()
	return s.source.Fill(s.out)
}

// needOut makes sure of an output buffer. The owner of the loop sized its pool for the streams that it opens, so there is one.
func (s *Stream) needOut() {
	if s.out == nil {
		if s.out = s.buffers.Get(); s.out == nil {
			panic("reactor: more streams than buffers")
		}
		s.head, s.tail = 0, 0
	}
}

// interest states what the stream waits for: a pure function of its state.
func (s *Stream) interest() {
	if s.loop == nil {
		return
	}
	var i Interest
	write := !s.Idle() && !s.starved.Running()
	probe := false // nothing else would tell of the far end's going away
	switch {
	case s.ended, s.paused, s.Busy():
		// Nothing would be done with what is read.
		if !write {
			i |= Hangup
		}
		if s.ended || s.shut {
			probe = true
		} else {
			i |= Shutdown
		}
	case s.offer:
		// What is kept comes first, and may fill the buffer. A hang-up waits as long.
		if !s.reoffer.Running() {
			s.loop.Start(&s.reoffer, 0, s)
		}
	default:
		i |= Read
	}
	if write {
		i |= Write
	}
	s.Want(i)
	if !probe {
		s.probing.Stop()
	} else if !s.probing.Running() {
		s.loop.Start(&s.probing, probePause, s)
	}
}

// fail closes the stream and tells the handler why.
func (s *Stream) fail(op string, err error) {
	s.drop()
	s.handler.End(wrap(op, s.name, err))
}
