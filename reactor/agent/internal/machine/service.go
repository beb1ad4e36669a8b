package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/network"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// maxLogged limits what is logged of a host's message, in bytes.
	maxLogged = 200
	// errorGarbage, factsGarbage and statsGarbage are how much heap garbage an error, a hello
	// and a stats make, in bytes.
	errorGarbage = 256
	factsGarbage = 24 << 10
	statsGarbage = 40 << 10
)

// Disk is what the freezer holds while the file system is frozen.
type Disk interface {
	// Hold makes writes to the disk wait until Release.
	Hold()
	Release()
	// Held reports whether they wait.
	Held() bool
}

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Contain *contain.Pool
	Jobs    *launch.Jobs
	Disk    Disk
	Table   *launch.Table
	Env     *launch.Env
	Network *network.Service
	// Null is a descriptor of /dev/null.
	Null int
	// FreezeFD is a directory of the file system that a host may freeze, or 0.
	FreezeFD int
	// Features are the extension's features that the other rooms serve.
	Features framing.Features
	// Facts are names and values that a host gets besides the machine's own.
	Facts [][2]string
	// AddFacts adds the facts of the other rooms, and AddFigures their figures.
	AddFacts   func(*framing.Facts)
	AddFigures func(*framing.Figures)
	// HostHere is called after each hello. It may be nil.
	HostHere func()
	// Restored is called after a restore that a host reports or that was detected. It may be nil.
	Restored func()
	// Notice says how the machine's programs are told of a restore.
	Notice Notice
	// Signal sends a signal to the workload, and reports whether that runs. nil means no
	// workload.
	Signal func(sig unix.Signal) bool
	// Generation is the path of the file with the epoch, or empty.
	Generation string
}

// Service serves the requests about the machine: hello, ping, shutdown, stats, pressure, restore,
// freeze and thaw.
type Service struct {
	Config
	syncs      syncer
	restores   restores
	clone      clone
	generation generation
	freezer    freezer
	pressures  int  // the number of open pressures
	stopping   bool // nothing is frozen any more
}

// NewService registers the handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.syncs.service, s.freezer.service, s.restores.service = s, s, s
	s.clone.service = s
	if err := s.generation.open(s.Generation); err != nil {
		s.Log.Warn("generation not kept", "error", err.Error())
	}
	for _, h := range []struct {
		t     framing.Type
		serve wire.Handler
	}{
		{framing.TypePing, ping}, {framing.TypeShutdown, s.syncs.request},
		{framing.TypeError, s.logError}, {framing.TypeStats, s.stats}, {framing.TypeThaw, s.thaw},
	} {
		s.Server.HandleEmpty(h.t, h.serve)
	}
	for _, h := range []struct {
		t     framing.Type
		serve wire.Handler
	}{
		{framing.TypeHello, s.hello}, {framing.TypePressure, s.pressure},
		{framing.TypeRestore, s.restore}, {framing.TypeFreeze, s.freeze},
		{framing.TypeIdentity, s.clone.request},
	} {
		s.Server.Handle(h.t, h.serve)
	}
	s.Server.OnOpen(s.restores.connOpened)
	s.Server.OnClose(s.restores.connClosed)
	s.Server.OnDetach(func(c *wire.Conn) {
		s.syncs.detach(c)
		s.freezer.detach(c)
		s.clone.waiter.Forget(c)
	})
	return s
}

// Close releases the descriptors.
func (s *Service) Close() { s.generation.close() }

// Stop thaws a frozen file system and refuses every later freeze. A process that waits for the
// thaw could not end otherwise.
func (s *Service) Stop() {
	s.stopping = true
	s.freezer.stop()
}

// ErrGoingDown is the error of a request that comes after the machine's end has begun.
var ErrGoingDown = &sys.WordedError{Errno: unix.EBUSY, Words: "machine is going down"}

// ping answers a ping.
func ping(c *wire.Conn, p *framing.Part) error {
	c.ReplyEmpty(framing.TypePong, p.Seq)
	return nil
}

// logError logs an error from the host. It never replies, because two agents would answer each
// other's errors for ever.
func (s *Service) logError(c *wire.Conn, p *framing.Part) error {
	text, _ := framing.ParseError(p.Data)
	s.Garbage.Collect(errorGarbage)
	s.Log.Warn("error from the host", "conn", sys.Num(c.ID()), "seq", sys.Num(p.Seq),
		"message", sys.Clip(string(text), maxLogged))
	return nil
}

// hello handles a hello, which asks for the extension. A host of the plain protocol may use the
// type for its own ends. If the payload asks for nothing, the type counts as unknown.
func (s *Service) hello(c *wire.Conn, p *framing.Part) error {
	version, err := framing.ParseHello(p.Data)
	if err != nil || version == 0 {
		if c.Extended() {
			return errNoVersion
		}
		return wire.ErrUnknown
	}
	c.Extend()
	r := framing.HelloResult{
		Version: min(version, framing.Version), Features: s.features(), Epoch: s.restores.epoch,
	}
	s.addFacts(&r.Facts)
	c.ReplyLater(framing.AppendHelloResult(nil, p.Seq, &r))
	if s.HostHere != nil {
		s.HostHere()
	}
	return nil
}

var errNoVersion = &sys.WordedError{Errno: unix.EINVAL, Words: "hello: no version"}

// features returns the extension's features that work on this machine.
func (s *Service) features() framing.Features {
	f := s.Features | framing.FeatureStats
	var st unix.Stat_t
	if unix.Stat(pressureFiles[framing.PressureMemory], &st) == nil {
		f |= framing.FeaturePressure
	}
	if unix.Geteuid() == 0 {
		f |= framing.FeatureRestore | framing.FeatureIdentity
	}
	if s.canFreeze() {
		f |= framing.FeatureFreeze
	}
	return f
}
