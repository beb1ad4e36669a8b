package hotplug

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// jobName is the name of the job.
const jobName = "online"

// Job returns the job that the program of the agent must have. online has the kernel use all
// processors. A child calls it, because it may take seconds.
func Job(online func() error) launch.Job {
	return launch.Job{Name: jobName, Do: func(string) error { return sys.ErrnoOf(online()) }}
}

// Config is what a service is made of. Null is /dev/null.
type Config struct {
	Loop *reactor.Loop
	Log  *log.Log
	Jobs *launch.Jobs
	Null int
}

// Service listens for uevents.
type Service struct {
	Config
	events reactor.Descriptor
	child  reactor.Child
	again  bool // a processor came while the child ran
}

// kernelGroup is the multicast group of the kernel's own uevents. Only the kernel, and a process
// that is root, can send to it.
const kernelGroup = 1

// New returns a service that listens. A failure is logged: the machine works, but processors that
// come must be onlined by hand.
func New(cfg Config) *Service {
	s := &Service{Config: cfg}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		s.Log.Info("added processors not seen", "error", err.Error())
		return s
	}
	s.Loop.Attach(&s.events, fd, s)
	s.events.Want(reactor.Read)
	return s
}

// maxTurn limits the events that are read in a turn.
const maxTurn = 64

// Ready implements [reactor.Handler].
func (s *Service) Ready(reactor.Events) {
	var buf [512]byte // a cpu's event is much shorter, and another's may be cut
	for range maxTurn {
		n, err := sys.Read(s.events.FD(), buf[:])
		switch {
		case err == unix.EINTR:
		case err == unix.ENOBUFS:
			s.online() // events were lost, perhaps of a processor
		case err != nil:
			return
		case isProcessor(sys.Alias(buf[:n])):
			s.online()
		}
	}
}

// isProcessor reports whether an event is about a processor that came: it begins with
// "add@/devices/system/cpu/cpu1" and a NUL.
func isProcessor(event string) bool {
	const begin = "add@/devices/system/cpu/cpu"
	if len(event) <= len(begin) || event[:len(begin)] != begin {
		return false
	}
	c := event[len(begin)]
	return c >= '0' && c <= '9'
}

// online starts the child.
func (s *Service) online() {
	if s.again = s.child.Running(); s.again {
		return
	}
	if err := s.Jobs.Start(&s.child, jobName, "", s.Null, s.Null, s); err != nil {
		s.Log.Warn("added processor not used", "error", err.Error())
	}
}

// Exited implements [reactor.ChildHandler].
func (s *Service) Exited(status unix.WaitStatus) {
	if errno := launch.JobErrno(&s.child, status); errno != 0 {
		s.Log.Warn("added processor not used", "error", errno.Error())
	} else {
		s.Log.Info("processors online")
	}
	if s.again {
		s.online()
	}
}

// Failed implements [reactor.Failer].
func (s *Service) Failed(value any, stack []byte) { s.Log.Panic("hotplug", value, stack) }

// Close stops listening.
func (s *Service) Close() { s.events.Close() }
