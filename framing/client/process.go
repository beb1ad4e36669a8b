package client

import (
	"math"
	"sync"
	"syscall"
	"time"

	"wick/framing"
)

// A process is this side's state of a process in the guest. It outlives the connection on which it
// was started.
type process struct {
	id   uint64
	name string
	kept bool    // this side lets the guest forget it
	in   *outbox // nil if this side sends no stdin
	out  *inbox
	errs *inbox // nil if there is one output

	mu sync.Mutex
	// mu guards the fields from here on.
	pid       uint32
	link      *link
	receipt   *Receipt
	cancelled error // the error of the context that ended
	abandoned bool  // no caller will wait for it
	released  bool

	unwatch func() bool // stops watching the context; nil before there was one

	reading bool   // Stdin is being read
	rest    []byte // what was read of Stdin and not written yet
	copied  error  // the first error of a copy
}

// A link is a process's channel on one connection.
type link struct {
	p *process
	remote
	// began is closed when the guest has answered the start or attach. over is closed when nothing
	// more comes. err is then set, unless the process has exited or could not be started.
	began, over chan struct{}
	hasBegun    bool
	ran         bool // it began with the process
	isOver      bool
	err         error
	failed      *StartError

	copying sync.WaitGroup // the goroutines that copy outputs
	idling  sync.Once
	idled   chan struct{}
}

// newLink returns a link to be opened on c.
func newLink(p *process, c *Client) *link {
	return &link{p: p, remote: remote{c: c}, began: make(chan struct{}), over: make(chan struct{}), idled: make(chan struct{})}
}

// idle returns a channel that is closed when the link is over and all its output was copied, or
// could not be.
func (l *link) idle() <-chan struct{} {
	l.idling.Do(func() {
		go func() {
			<-l.over
			l.copying.Wait()
			close(l.idled)
		}()
	})
	return l.idled
}

// begin and finish are called with p.mu held.
func (l *link) begin() {
	if !l.hasBegun {
		l.hasBegun = true
		close(l.began)
	}
}

func (l *link) finish(err error) {
	if l.isOver {
		return
	}
	l.isOver, l.err = true, err
	l.begin()
	close(l.over)
	reason := err
	if reason == nil {
		reason = syscall.ESRCH // the process has ended; outputs have their own end
	}
	for _, b := range l.p.outputs() {
		b.fail(reason)
	}
	if in := l.p.in; in != nil {
		if err == nil {
			in.close()
		}
		in.fail(reason)
	}
}

// outputs returns the streams from the guest.
func (p *process) outputs() []*inbox {
	if p.errs == nil {
		return []*inbox{p.out}
	}
	return []*inbox{p.out, p.errs}
}

// inbox returns the inbox of a stream, or nil.
func (p *process) inbox(s framing.Stream) *inbox {
	switch s {
	case framing.StreamOutput:
		return p.out
	case framing.StreamErrors:
		return p.errs
	}
	return nil
}

// receive implements receiver.
func (l *link) receive(f *frame) (last bool, err error) {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != l {
		return true, nil // another connection has the process now
	}
	switch f.Type {
	case framing.TypeStarted:
		return false, l.started(f)
	case framing.TypeOutput:
		s, data, err := framing.ParseOutput(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if b := p.inbox(s); b != nil && l.hasBegun {
			return false, b.receive(data)
		}
		return false, protocolErrorf("output of unknown stream %d", s)
	case framing.TypeClose:
		s, err := framing.ParseClose(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if b := p.inbox(s); b != nil {
			b.end()
		} else if s == framing.StreamInput && p.in != nil {
			p.in.close()
		}
		return false, nil
	case framing.TypeCredit:
		s, n, err := framing.ParseCredit(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if s == framing.StreamInput && p.in != nil {
			p.in.grant(n)
		}
		return false, nil
	case framing.TypeExited:
		return true, l.exited(f)
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		l.finish(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		l.finish(&attachError{OpError{"attach", guestErrno(d.Errno), string(d.Reason)}, d.Value})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a process", f.Type)
}

func (l *link) started(f *frame) error {
	s, err := framing.ParseStarted(f.Payload)
	if err != nil {
		return &ProtocolError{Err: err}
	}
	if l.hasBegun {
		return protocolErrorf("a second started")
	}
	if s.Taken > math.MaxInt64 {
		return protocolErrorf("started with %d bytes of stdin taken", s.Taken)
	}
	l.p.pid = s.PID
	if in := l.p.in; in != nil && !in.resume(l.remote, s.Taken, s.Credit) {
		l.finish(&lostInputError{s.Taken})
		return nil
	}
	l.ran = true
	l.begin()
	for _, b := range l.p.outputs() {
		b.opened()
	}
	return nil
}

// exited handles the end of the process. Its outputs have ended, or end now.
func (l *link) exited(f *frame) error {
	var e framing.Exited
	if err := framing.ParseExited(f.Payload, &e); err != nil {
		return &ProtocolError{Err: err}
	}
	p := l.p
	if e.Reason == framing.ReasonNotStarted {
		l.failed = &StartError{p.name, e.Stage, guestErrno(e.Errno), string(e.Message), int(e.Code)}
	}
	p.receipt = receiptOf(&e)
	for _, b := range p.outputs() {
		b.end()
	}
	l.finish(nil)
	if p.abandoned || l.failed != nil {
		p.release()
	}
	return nil
}

// lost implements receiver.
func (l *link) lost(err error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.finish(err)
}

// signal sends a signal, and does not wait for the result.
func (l *link) signal(sig syscall.Signal, scope framing.SignalScope) {
	l.c.postNow(func(dst []byte) []byte {
		return framing.AppendSignal(dst, l.c.nextSeq(), framing.Signal{ID: l.p.id, Signal: uint8(sig), Scope: scope})
	})
}

// cancelLimit is how long the end of a cancelled process is awaited.
const cancelLimit = 5 * time.Second

// cancel kills the process tree, because ctx has ended. Without a connection it is killed on the
// next one. If the guest does not report its end in time, it ends for this side, so that no reader
// of its streams waits on.
func (p *process) cancel(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.receipt != nil {
		return
	}
	p.cancelled = cause
	if l := p.link; !l.isOver {
		l.signal(syscall.SIGKILL, framing.ScopeTree)
		time.AfterFunc(cancelLimit, func() { l.lost(cause) })
	}
}

// abandon cancels a process that no caller will wait for, and drops its output.
func (p *process) abandon(cause error) {
	p.mu.Lock()
	p.abandoned = true
	p.mu.Unlock()
	p.cancel(cause)
	for _, b := range p.outputs() {
		b.drain(false)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release() // the receipt may have come first
}

// release lets the guest forget a kept process whose receipt has arrived, and reports whether it
// does. p.mu is held.
func (p *process) release() bool {
	if !p.kept || p.released || p.receipt == nil {
		return false
	}
	p.released = true
	l := p.link
	l.c.postNow(func(dst []byte) []byte { return framing.AppendFrame(dst, framing.TypeRelease, l.seq, nil) })
	return true
}
