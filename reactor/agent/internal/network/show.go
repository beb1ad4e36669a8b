package network

import (
	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxShown is the most interfaces that are shown.
	maxShown = 16
	// maxFact is the longest fact about an interface, and maxContent that about a file, in bytes.
	maxFact    = 1 << 10
	maxContent = 4 << 10
)

// AddFacts adds what the kernel has: "net.eth0" with the fields of --net that would set the
// interface so. lo is left out. "degraded.network" is what could not be done of the last
// configuration.
func (s *Service) AddFacts(f *framing.Facts) {
	s.Garbage.Collect(requestGarbage)
	var c conn
	failed := s.failed
	if errno := c.open(); errno != 0 {
		failed = "read rtnetlink: " + errno.Error()
	}
	c.close()
	if failed != "" {
		f.Add("degraded.network", sys.Clip(failed, maxFact))
	}
	left := maxShown
	for i := range c.nics {
		if n := &c.nics[i]; !n.loopback && left > 0 {
			left--
			f.Add("net."+n.name, sys.Clip(n.fields(), maxFact))
		}
	}
}
