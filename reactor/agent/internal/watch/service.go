package watch

import (
	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureWatch

// maxWatches limits the watches at a time, for all hosts. The kernel's default is 128 for a user.
const maxWatches = 64

// Config configures a service.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	// Dirs is the most directories of all watches.
	Dirs uint32
}

// Service serves the requests to watch files.
type Service struct {
	Config
	watches int
	dirs    int
}

// NewService returns a service that has registered its handler.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.Server.Handle(framing.TypeWatch, s.watch)
	return s
}

// Watched returns how many directories are watched.
func (s *Service) Watched() int { return s.dirs }
