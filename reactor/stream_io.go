package reactor

// read takes what is there, at most one buffer.
func (s *Stream) read() {
	buf := s.loop.scratch
	if s.in != nil {
		buf = s.in
	}
	n, err := recv(s.fd, buf[s.kept:])
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
		return
	}
	s.take(buf[:s.kept+n])
}

// take offers b to the handler and keeps what it leaves. b is the kept input itself, or the loop's scratch.
func (s *Stream) take(b []byte) {
	rest := b[s.handler.Input(b):]
	if s.loop == nil {
		return
	}
	if len(rest) > 0 && s.in == nil {
		if s.in = s.buffers.Get(); s.in == nil {
			s.fail("read", errNoBuffer)
			return
		}
	}
	if s.kept = copy(s.in, rest); s.kept == 0 && s.in != nil {
		s.buffers.Put(s.in)
		s.in = nil
	}
	s.offer = s.kept > 0 && (s.paused || s.Busy())
	s.Flush()
}

// Expired implements [TimerHandler]: what was left while the stream was busy is offered again.
func (s *Stream) Expired(*Timer) {
	if s.loop != nil && s.offer && !s.paused && !s.Busy() {
		s.offer = false
		s.take(s.in[:s.kept])
	}
}

// Flush gives the kernel what is queued, at most about one buffer of it; the rest goes when there is room.
func (s *Stream) Flush() {
	if s.loop == nil {
		return
	}
	for sent := 0; sent < BufferSize; {
		if s.head == s.tail && !s.refill() {
			break
		}
		n, err := send(s.fd, s.out[s.head:s.tail])
		switch judge(err) {
		case fine:
			s.head += n
			sent += n
		case again:
		case later:
			sent = BufferSize
		default:
			s.fail("write", err)
			return
		}
		if s.head == s.tail && s.source != nil && s.last {
			src := s.source
			s.source = nil
			src.Sent(true)
		}
		if s.loop == nil {
			return
		}
	}
	if s.Idle() {
		if s.out != nil {
			s.buffers.Put(s.out)
			s.out = nil
		}
		s.handler.Drained()
		if s.loop == nil {
			return
		}
	}
	s.interest()
}

// refill puts the next bytes of the sources into the empty output buffer, and reports whether there were any.
func (s *Stream) refill() bool {
	if s.source == nil {
		if len(s.sources) == 0 {
			return false
		}
		s.source = s.sources[0]
		n := copy(s.sources, s.sources[1:])
		s.sources[n] = nil
		s.sources = s.sources[:n]
	}
	s.needOut()
	s.head = 0
	s.tail, s.last = s.source.Fill(s.out)
	return true
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
	var i Interest
	switch {
	case s.ended, s.paused, s.Busy():
		// Nothing would be done with what is read.
	case s.offer:
		// What is kept comes first, and may fill the buffer.
		if !s.reoffer.Running() {
			s.loop.Start(&s.reoffer, 0, s)
		}
	default:
		i |= Read
	}
	if !s.Idle() {
		i |= Write
	}
	if i == 0 {
		i = Hangup
	}
	s.Want(i)
}

// fail closes the stream and tells the handler why.
func (s *Stream) fail(op string, err error) {
	s.drop()
	s.handler.End(wrap(op, s.name, err))
}
