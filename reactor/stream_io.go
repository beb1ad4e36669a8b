package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// shortReads is the most reads of a turn in which a limit left a message unfinished.
const shortReads = 4

// read reads what is there, at most one buffer.
func (s *Stream) read() {
	for range shortReads {
		if s.divert() {
			return
		}
		if !s.receive() || s.loop == nil || s.want&Read == 0 || s.readLimit == 0 {
			return
		}
		if s.kept == 0 {
			s.divert() // what was read may have been the head of it
			return
		}
	}
}

// receive reads once, passes that to the handler, and reports whether there was anything.
func (s *Stream) receive() bool {
	buf := s.loop.scratch
	if s.in != nil {
		buf = s.in
	}
	room := buf[s.kept:]
	if s.readLimit > 0 {
		room = room[:min(len(room), s.readLimit)]
	}
	n, err := recv(s.fd, room)
	switch judge(err) {
	case fine:
	case interrupted, wouldBlock:
		return false // the next wait tells if there is something
	default:
		s.fail("read", err)
		return false
	}
	if n == 0 {
		s.ended = true
		s.interest()
		s.handler.End(nil)
		s.probe() // the far end may be gone altogether
		return false
	}
	s.take(buf[:s.kept+n])
	return true
}

// take passes b to the handler and keeps what it leaves. b is either the kept input or the loop's
// scratch buffer.
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
		s.freeIn()
	}
	s.offer = s.kept > 0 && (s.stalled || s.paused || s.Busy())
	if s.kept == BufferSize && !s.offer {
		// A read into no room would return 0, as at end of file.
		s.fail("read", unix.EMSGSIZE)
		return
	}
	s.Flush()
}

// input calls Input. The handler may close the stream, or panic, and use b until it returns.
func (s *Stream) input(b []byte) int {
	s.inInput = true
	s.stalled = s.paused || s.Busy()
	defer func() {
		s.inInput = false
		if s.loop == nil {
			s.freeIn()
		}
	}()
	return s.handler.Input(b)
}

// probePause is the time between two probes, so a far end that goes away after a shutdown is
// noticed that late.
const probePause = time.Second

// probe asks whether the far end, which has written its last byte, is still there. An empty send to
// a vsock connection that is over returns EPIPE, while epoll never reports a hang-up. With unread
// bytes and no room to write epoll reports nothing but the shutdown, which is known. So probe
// repeats.
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

// Expired implements [TimerHandler]. It passes the kept input to the handler again, probes the far
// end, or retries after the kernel had no memory.
func (s *Stream) Expired(t *Timer) {
	switch t {
	case &s.probeTimer:
		s.probe()
		return
	case &s.memoryTimer:
		s.Flush()
		return
	}
	if s.loop != nil && s.offer && !s.paused && !s.Busy() {
		s.offer = false
		s.take(s.in[:s.kept])
	}
}

// Flush passes queued output to the kernel, about one buffer at most. The rest follows when there
// is room. Flush does nothing when a handler that it called calls it, because it sends what was
// queued meanwhile anyway.
func (s *Stream) Flush() {
	if s.loop == nil || s.inFlush {
		return
	}
	// The caller may be another stream's handler, which must not get the panic of this one's.
	defer contain(s, nil)
	if s.Idle() {
		s.freeOut() // Space was called and not used
	} else {
		s.flush()
	}
	if s.loop != nil {
		s.interest()
	}
}

const (
	// writeBatch is the most writes of one Flush, because each may take only a few bytes.
	writeBatch = 16
	// smallWrite is the size of a write after the kernel had no memory for a larger one. On many
	// kernels a vsock packet is one allocation, and the kernel soon gives up on more than 32 KiB
	// (PAGE_ALLOC_COSTLY_ORDER).
	smallWrite = BufferSize / 8
	// starvedPause is the pause after the kernel had no memory for that either. The socket stays
	// writable, so the loop would spin without a pause.
	starvedPause = 100 * time.Millisecond
)

func (s *Stream) flush() {
	s.inFlush = true
	defer func() { s.inFlush = false }()
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
				s.memoryTimer.Stop()
			case interrupted:
			case wouldBlock:
				return
			case exhausted:
				s.loop.Start(&s.memoryTimer, starvedPause, s)
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
		s.freeOut()
		s.handler.Drained()
	}
}

// refill puts the next bytes of the first source into the empty output buffer. There is a source.
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

// fill calls Fill. The source may close the stream, or panic, and use the buffer until it returns.
func (s *Stream) fill() (n int, last bool) {
	s.inFill = true
	defer func() {
		s.inFill = false
		if s.loop == nil {
			s.freeOut()
		}
	}()
	return s.source.Fill(s.out)
}

// needOut gets an output buffer. The owner of the loop has sized its pool for all its streams.
func (s *Stream) needOut() {
	if s.out == nil {
		if s.out = s.buffers.Get(); s.out == nil {
			panic("reactor: more streams than buffers")
		}
		s.head, s.tail = 0, 0
	}
}

// interest sets what the stream waits for, which is a function of its state.
func (s *Stream) interest() {
	if s.loop == nil {
		return
	}
	var i Interest
	write := !s.Idle() && !s.memoryTimer.Running()
	probe := false // nothing else would report that the far end is gone
	switch {
	case s.ended, s.paused, s.Busy():
		// Nothing would use the bytes of a read.
		if !write {
			i |= Hangup
		}
		if s.ended || s.shut {
			probe = true
		} else {
			i |= Shutdown
		}
	case s.offer:
		// The kept input comes first, because a read may have no room behind it. A hang-up waits
		// until then.
		if !s.inputTimer.Running() {
			s.loop.Start(&s.inputTimer, 0, s)
		}
	default:
		i |= Read
	}
	if write {
		i |= Write
	}
	s.Want(i)
	if !probe {
		s.probeTimer.Stop()
	} else if !s.probeTimer.Running() {
		s.loop.Start(&s.probeTimer, probePause, s)
	}
}

// fail closes the stream and tells the handler why.
func (s *Stream) fail(op string, err error) {
	s.drop()
	s.handler.End(wrap(op, s.name, err))
}
