package network

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/etc"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves. They take root.
const Features = framing.FeatureNetwork

// requestGarbage is what a request leaves, in bytes: mostly the buffers for the kernel's answers
// and for the files of /etc.
const requestGarbage = bufferSize + 2*etc.MaxSize + 8<<10

// Config is what a service is made of.
type Config struct {
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Disk    *files.Disk
}

// Service configures the network, on the command line's word and on a host's.
type Service struct {
	Config
	etc    string   // the directory of resolv.conf and hosts
	named  []uint32 // indexes of the interfaces of the last configuration
	failed string   // what could not be done of the last configuration
}

// NewService returns a service that has registered its handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg, etc: "/etc"}
	s.Server.Handle(framing.TypeNetwork, s.set)
	s.Server.HandleEmpty(framing.TypeNetworkShow, s.show)
	return s
}

// Boot configures the network as the words of the command line say. Without any, an init does what
// the kernel's ip= says. A failure is logged, and kept for a host. Without a configuration Boot
// asks the kernel nothing.
func (s *Service) Boot(words []string, init bool) {
	var p plan
	for _, word := range words {
		p.parse(word)
	}
	if len(words) == 0 && init {
		buf := make([]byte, sys.KernelFile)
		p.parseKernel(sys.ReadText("/proc/cmdline", buf), sys.ReadText("/proc/net/pnp", buf))
		if nodename() != "localhost" {
			p.hostname = "" // that of ip= is for a machine without one
		}
	}
	if len(p.links)+len(p.dns)+len(p.search)+len(p.hostname) > 0 {
		s.apply(&p, nil)
	} else {
		s.failed = p.bad.text
	}
	if s.failed != "" {
		s.Log.Warn("network not configured", "error", s.failed)
	}
}

// set replaces the configuration.
func (s *Service) set(c *wire.Conn, p *framing.Part) error {
	words, err := framing.ParseNetwork(p.Data)
	if err != nil {
		return err
	}
	c.Heavy()
	s.Garbage.Collect(requestGarbage + 8*len(p.Data))
	var wanted plan
	for word := range words.All {
		wanted.parse(string(word))
	}
	var done failures
	switch {
	case wanted.bad.count > 0:
		err = &sys.WordedError{Errno: unix.EINVAL, Words: wanted.bad.text} // and nothing is done
	case s.Disk.Held():
		err = files.ErrFrozen
	default:
		done = s.apply(&wanted, nil)
		err = done.error()
	}
	c.Done(p.Seq, uint64(done.count), err)
	return nil
}

// Configuration is a configuration that [Service.Apply] takes.
type Configuration struct{ plan plan }

// Add adds a word. An error wraps EINVAL, and says what is wrong with it.
func (f *Configuration) Add(word string) error {
	if f.plan.parse(word); f.plan.bad.count > 0 {
		return &sys.WordedError{Errno: unix.EINVAL, Words: f.plan.bad.text}
	}
	return nil
}

// Apply replaces the configuration. It does all that it can. The error says what could not be
// done, which failed counts. Unless down is nil, Apply calls it while the interfaces that it
// configures are down. It may not come to that.
func (s *Service) Apply(f *Configuration, down func()) (failed int, err error) {
	s.Garbage.Collect(requestGarbage)
	done := s.apply(&f.plan, down)
	return done.count, done.error()
}

// Rename sets the host name, and the machine's own entry in /etc/hosts.
func (s *Service) Rename(name string) error {
	s.Garbage.Collect(requestGarbage)
	var t setting
	s.name(name, "", &t)
	return t.error()
}

// show answers with the facts of a hello, the content of resolv.conf and the host name.
func (s *Service) show(c *wire.Conn, p *framing.Part) error {
	var f framing.Facts
	s.AddFacts(&f)
	if text, errno := etc.Read(s.etc + "/resolv.conf"); errno == 0 {
		f.Add("resolv.conf", sys.Clip(text, maxContent))
	}
	f.Add("hostname", nodename())
	c.ReplyLater(framing.AppendFacts(nil, p.Seq, f))
	return nil
}
