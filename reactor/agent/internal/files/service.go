package files

import (
	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureFiles | framing.FeatureCopies

// requestGarbage is what a request about a file leaves, in bytes.
const requestGarbage = 512

// Config is what a service is made of.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Disk    *Disk
	Jobs    *launch.Jobs
	// Root reports that the agent is root. Otherwise a write_file that asks for root goes through sudo,
	// which is looked up in SudoPath.
	Root     bool
	SudoPath string
	// Null is a descriptor of /dev/null.
	Null int
	// Changed is called when Busy may have another answer.
	Changed func()
}

// Service serves the requests about files: write_file, and the extension's read, write, stat, list and
// change.
type Service struct {
	Config
	commits []*upload // write_files that are whole, and being put in place
	syncs   syncer
	spare   *upload // for the next write_file
}

// NewService returns a service that has registered its handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.syncs.service = s
	s.Server.HandleParts(framing.TypeWriteFile, s.upload)
	for _, h := range []struct {
		t     framing.Type
		serve wire.Handler
	}{
		{framing.TypeRead, s.read}, {framing.TypeWrite, s.write}, {framing.TypeStat, s.stat},
		{framing.TypeList, s.list}, {framing.TypeChange, s.change},
	} {
		s.Server.Handle(h.t, func(c *wire.Conn, p *framing.Part) error {
			c.Heavy() // a disk may have to be asked
			s.Garbage.Collect(2*requestGarbage + 4*len(p.Data))
			return h.serve(c, p)
		})
	}
	return s
}

// Busy reports whether a write_file is being put in place.
func (s *Service) Busy() bool { return len(s.commits) > 0 }

// Drop gives up what is being put in place, because the agent is at its end.
func (s *Service) Drop() {
	for len(s.commits) > 0 {
		s.commits[0].close()
	}
}

// mayWrite reports whether a file may be written now. If not, it ends the operation seq with EBUSY.
func (s *Service) mayWrite(c *wire.Conn, seq uint32) bool {
	if s.Disk.Held() {
		c.Done(seq, 0, ErrFrozen)
		return false
	}
	return true
}
