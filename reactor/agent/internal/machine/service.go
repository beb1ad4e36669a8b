package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// maxLogged is the most bytes of a host's message that are logged.
	maxLogged = 200
	// errorGarbage is what an error leaves, in bytes, factsGarbage a hello and statsGarbage a stats.
	errorGarbage = 256
	factsGarbage = 24 << 10
	statsGarbage = 10 << 10
)

// Disk is what is held while the file system is frozen.
type Disk interface {
	// Hold has what would write to the disk wait, until Release.
	Hold()
	Release()
}

// Config is what a service is made of.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Contain *contain.Pool
	Jobs    *launch.Jobs
	Disk    Disk
	// Null is a descriptor of /dev/null.
	Null int
	// FreezeFD is a directory of the file system that a host can have frozen, or 0.
	FreezeFD int
	// Features are those of the other rooms.
	Features framing.Features
	// Facts are names and values that a host is told of, beside the machine's own.
	Facts [][2]string
	// AddFigures adds the figures of the other rooms.
	AddFigures func(*framing.Figures)
}

// Service serves the requests about the machine: hello, ping, shutdown, stats, pressure, restore, freeze
// and thaw.
type Service struct {
	Config
	syncs     syncer
	restores  restores
	freezer   freezer
	pressures int // pressures
	stopping  bool
}

// NewService returns a service that has registered its handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.syncs.service, s.freezer.service, s.restores.service = s, s, s
	for _, h := range []struct {
		t     framing.Type
		serve wire.Handler
	}{{framing.TypePing, ping}, {framing.TypeShutdown, s.syncs.request}, {framing.TypeError, s.logError}, {framing.TypeStats, s.stats}, {framing.TypeThaw, s.thaw}} {
		s.Server.HandleEmpty(h.t, h.serve)
	}
	for _, h := range []struct {
		t     framing.Type
		serve wire.Handler
	}{{framing.TypeHello, s.hello}, {framing.TypePressure, s.pressure}, {framing.TypeRestore, s.restore}, {framing.TypeFreeze, s.freeze}} {
		s.Server.Handle(h.t, h.serve)
	}
	s.Server.OnOpen(s.restores.connOpened)
	s.Server.OnClose(s.restores.connClosed)
	s.Server.OnDetach(func(c *wire.Conn) {
		s.syncs.detach(c)
		s.freezer.detach(c)
	})
	return s
}

// GoDown thaws what is frozen, and freezes nothing any more. A process that waits for the thaw would not
// end.
func (s *Service) Stop() {
	s.stopping = true
	s.freezer.stop()
}

// ErrGoingDown is the error of a request that comes too late.
var ErrGoingDown = &sys.WordedError{Errno: unix.EBUSY, Words: "machine is going down"}

// ping answers a ping.
func ping(c *wire.Conn, p *framing.Part) error {
	c.ReplyEmpty(framing.TypePong, p.Seq)
	return nil
}

// logError logs an error from the host. It is never answered: two agents that answered each other's errors
// would not stop.
func (s *Service) logError(c *wire.Conn, p *framing.Part) error {
	text, _ := framing.ParseError(p.Data)
	s.Garbage.Collect(errorGarbage)
	s.Log.Warn("error from the host", "conn", sys.Num(c.ID()), "seq", sys.Num(p.Seq), "message", sys.Clip(string(text), maxLogged))
	return nil
}

// hello answers a host that asks for the extension. To a host that only happens to use the type, and whose
// payload asks for nothing, the type is unknown.
func (s *Service) hello(c *wire.Conn, p *framing.Part) error {
	version, err := framing.ParseHello(p.Data)
	if err != nil || version == 0 {
		if c.Extended() {
			return errNoVersion
		}
		return wire.ErrUnknown
	}
	c.Extend()
	r := framing.HelloResult{Version: min(version, framing.Version), Features: s.features(), Epoch: s.restores.epoch}
	s.addFacts(&r.Facts)
	c.ReplyLater(framing.AppendHelloResult(nil, p.Seq, &r))
	return nil
}

var errNoVersion = &sys.WordedError{Errno: unix.EINVAL, Words: "hello: no version"}

// features returns what the agent has of the extension on this machine.
func (s *Service) features() framing.Features {
	f := s.Features | framing.FeatureStats
	var st unix.Stat_t
	if unix.Stat(pressureFiles[framing.PressureMemory], &st) == nil {
		f |= framing.FeaturePressure
	}
	if unix.Geteuid() == 0 {
		f |= framing.FeatureRestore
	}
	if s.canFreeze() {
		f |= framing.FeatureFreeze
	}
	return f
}
