package forward

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureForward | framing.FeaturePorts

const (
	// maxLinks limits the connections forwarded at a time, for all hosts. Each may need a buffer.
	maxLinks = 512
	// maxListeners limits the listeners of a host's connection.
	maxListeners = 64
	// maxWaiting limits the connections of a listener that its host has not accepted.
	maxWaiting = 16
)

// Config configures a service.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Disk    *files.Disk
}

// Service serves the requests about forwarding: connect, listen, accept and ports.
type Service struct {
	Config
	links  int
	open   []wire.Producer // listeners and watchers
	lastID uint64          // of the newest connection that waited for accept
	pool   *reactor.Pool   // of buffers for bytes that wait; made when the first do
	ports  ports
}

// NewService returns a service that has registered its handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	request := s.request // one closure for all
	for _, t := range [...]framing.Type{framing.TypeConnect, framing.TypeListen, framing.TypeAccept, framing.TypePorts} {
		s.Server.Handle(t, request)
	}
	return s
}

func (s *Service) request(c *wire.Conn, p *framing.Part) error {
	switch p.Type {
	case framing.TypeConnect:
		return s.connect(c, p)
	case framing.TypeListen:
		return s.listen(c, p)
	case framing.TypeAccept:
		return s.accept(c, p)
	}
	return s.listPorts(c, p)
}

// Close releases the service's memory. Every connection must have ended before.
func (s *Service) Close() {
	if s.pool != nil {
		s.pool.Close()
		s.pool = nil
	}
}

// failure is a step that failed.
type failure struct {
	_     [0]func() // so that the compiler makes no function that compares
	stage framing.ForwardStage
	err   error
}

// worded returns a failure with words of its own.
//
//go:noinline
func worded(stage framing.ForwardStage, errno unix.Errno, words string) *failure {
	return &failure{stage: stage, err: &sys.WordedError{Errno: errno, Words: words}}
}

// failed returns the failure of a system call.
//
//go:noinline
func failed(stage framing.ForwardStage, op, address string, err error) *failure {
	return &failure{stage: stage, err: sys.NewError(op, address, err)}
}

// done ends a request or a channel. A nil failure says that all went well.
func (f *failure) done(c *wire.Conn, seq uint32) {
	if f == nil {
		f = &failure{}
	}
	c.Done(seq, uint64(f.stage), f.err)
}
