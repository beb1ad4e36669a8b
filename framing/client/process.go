package client

import (
	"math"
	"sync"
	"syscall"
	"time"

	"wick/framing"
)

// A process is what this side has of one in the guest. It outlives the connection that it was started on.
type process struct {
	id   uint64
	name string
	kept bool
	in   *outbox // nil if it reads nothing from here
	out  *inbox
	errs *inbox // nil if there is one output

	mu sync.Mutex
	// What mu guards:
	pid       uint32
	link      *link
	receipt   *Receipt
	cancelled error // the context's that ended
	abandoned bool  // nobody will wait for it
	released  bool

	unwatch func() bool // ends the watch over the context; nil before there was one

	reading bool   // Stdin is being read
	rest    []byte // what was read of it and not written
	copied  error  // the first error of a copy
}

// A link is a process's channel on one connection.
type link struct {
	p *process
	remote
	// began is closed when the guest has answered the start or attach, and over when nothing more comes. err is then set unless the process has
	// exited or could not be started.
	began, over chan struct{}
	hasBegun    bool
	ran         bool // it began with the process
	isOver      bool
	err         error
	failed      *StartError

	copying sync.WaitGroup // what hands outputs on
	idling  sync.Once
	idled   chan struct{}
}

// newLink makes one that is to be opened on c.
func newLink(p *process, c *Client) *link {
	return &link{p: p, remote: remote{c: c}, began: make(chan struct{}), over: make(chan struct{}), idled: make(chan struct{})}
}

// idle is closed when the link is over and all that came by it was handed on, or could not be.
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
		reason = syscall.ESRCH // it has ended; outputs have their own end
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

// outputs are the streams that come from the guest.
func (p *process) outputs() []*inbox {
	if p.errs == nil {
		return []*inbox{p.out}
	}
	return []*inbox{p.out, p.errs}
}

// inbox is that of a stream, or nil.
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
		return true, nil // the process is another connection's now
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
		return false, protocolErrorf("output of stream %d, of which there is none", s)
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
		l.finish(&attachError{OpError{"attach", syscall.Errno(d.Errno), string(d.Reason)}, d.Value})
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
		return protocolErrorf("%d bytes of stdin taken", s.Taken)
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

// exited is the process's end. Its outputs have ended before, or do now.
func (l *link) exited(f *frame) error {
	var e framing.Exited
	if err := framing.ParseExited(f.Payload, &e); err != nil {
		return &ProtocolError{Err: err}
	}
	p := l.p
	if e.Reason == framing.ReasonNotStarted {
		l.failed = &StartError{p.name, e.Stage, syscall.Errno(e.Errno), string(e.Message), int(e.Code)}
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

// signal sends one, and does not wait for what becomes of it.
func (l *link) signal(sig syscall.Signal, scope framing.SignalScope) {
	l.c.postNow(func(dst []byte) []byte {
		return framing.AppendSignal(dst, l.c.nextSeq(), framing.Signal{ID: l.p.id, Signal: uint8(sig), Scope: scope})
	})
}

// cancelLimit is how long the end of a process is waited for that was cancelled.
const cancelLimit = 5 * time.Second

// cancel kills the process and all that it has become, for ctx has ended. Where there is no connection now it is done on the next. If the guest does not
// say that it has ended, then for this side it has: nobody waits on for its streams.
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

// abandon is cancel for a process that nobody will wait for. What comes of it is dropped.
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
	p.release() // if its receipt was quicker
}

// release lets the guest forget a kept process whose receipt has arrived, and reports whether it does. p.mu is held.
func (p *process) release() bool {
	if !p.kept || p.released || p.receipt == nil {
		return false
	}
	p.released = true
	l := p.link
	l.c.postNow(func(dst []byte) []byte { return framing.AppendFrame(dst, framing.TypeRelease, l.seq, nil) })
	return true
}
