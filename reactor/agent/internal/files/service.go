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

// requestGarbage is how much heap garbage a request makes, in bytes.
const requestGarbage = 512

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Disk    *Disk
	Jobs    *launch.Jobs
	// Root reports whether the agent is root. If not, a write_file that asks for root goes through
	// sudo, which is looked up in SudoPath.
	Root     bool
	SudoPath string
	// Null is a descriptor of /dev/null.
	Null int
	// Changed is called when Busy may answer differently.
	Changed func()
}

// Service serves the requests about files.
type Service struct {
	Config
	commits []*upload // write_files that are whole and being put in place
	syncs   syncer
	spare   *upload // an upload to reuse
}

// NewService registers the handlers.
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
			c.Heavy() // it may wait for a disk
			s.Garbage.Collect(2*requestGarbage + 4*len(p.Data))
			return h.serve(c, p)
		})
	}
	return s
}

// Busy reports whether a write_file is being put in place.
func (s *Service) Busy() bool { return len(s.commits) > 0 }

// Syncing returns how many files are being synced, and how many wait for their sync.
func (s *Service) Syncing() (running, waiting int) { return s.syncs.running, len(s.syncs.waiting) }

// Drop gives up what is being put in place.
func (s *Service) Drop() {
	for len(s.commits) > 0 {
		s.commits[0].close()
	}
}

// mayWrite reports whether files may be written now. If not, it replies EBUSY to seq.
func (s *Service) mayWrite(c *wire.Conn, seq uint32) bool {
	if s.Disk.Held() {
		c.Done(seq, 0, ErrFrozen)
		return false
	}
	return true
}
