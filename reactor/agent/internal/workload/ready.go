package workload

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

const (
	// minLook and maxLook limit the time between two looks at whether a service is ready. It
	// doubles from look to look.
	minLook = 100 * time.Millisecond
	maxLook = time.Second
	// probeLimit is how long a probe may take.
	probeLimit = 10 * time.Second
)

// setAfter takes names, each after a comma.
func (s *Spec) setAfter(value string) error {
	var after []string
	for rest, more := value, true; more; {
		var name string
		if name, rest, more = sys.Cut(rest, ','); !isName(name) {
			return errors.New("not a list of services")
		}
		after = append(after, name)
	}
	s.after = after
	return nil
}

// setReady takes start, end, notify, port:N or exit:COMMAND.
func (s *Spec) setReady(value string) error {
	kind, rest, _ := sys.Cut(value, ':')
	switch {
	case value == "start":
		s.ready = readyStart
	case value == "end":
		s.ready = readyEnd
	case value == "notify":
		s.ready = readyNotify
	case kind == "port":
		n, ok := sys.ParseNumber(rest)
		if !ok || n == 0 || n > 65535 {
			return errors.New("not a port from 1 to 65535")
		}
		s.ready, s.port = readyPort, uint16(n)
	case kind == "exit":
		if err := s.probe.set(rest); err != nil {
			return err
		}
		s.ready = readyProbe
	default:
		return errors.New("not start, end, notify, port:N or exit:COMMAND")
	}
	return nil
}

// look sees whether a service that runs is ready, and looks again later if it is not.
func (u *unit) look() {
	switch {
	case u.spec.ready == readyPort && listens(u.pid, u.spec.port):
		u.becomeReady()
		return
	case u.spec.ready == readyProbe && !u.probe.Running():
		if u.process.Spawn(&u.probe, u.spec.request(&u.spec.probe), (*probe)(u)) == nil {
			u.room.Loop.Start(&u.timer, probeLimit, u)
			return
		}
	case u.probe.Running(): // for too long, or of an earlier run
		u.probe.SignalGroup(unix.SIGKILL)
	}
	u.lookLater()
}

func (u *unit) lookLater() {
	u.pause = min(max(2*u.pause, minLook), maxLook)
	u.room.Loop.Start(&u.timer, u.pause, u)
}

// probe is a unit as the handler of its probe.
type probe unit

// Exited implements [reactor.ChildHandler].
func (p *probe) Exited(status unix.WaitStatus) {
	u := (*unit)(p)
	switch {
	case u.state != starting || u.spec.ready != readyProbe:
	case status == 0 && u.probe.Failure() == nil:
		u.becomeReady()
	default:
		u.lookLater()
	}
}

// Failed implements [reactor.Failer].
func (p *probe) Failed(value any, stack []byte) { p.room.Failed(value, stack) }

var _ reactor.ChildHandler = (*probe)(nil)

// listens reports whether a TCP port listens in the network namespace of a process. The kernel
// lists the sockets that listen first.
func listens(pid int, port uint16) bool {
	for _, file := range [...]string{"/net/tcp", "/net/tcp6"} {
		fd, err := unix.Open("/proc/"+sys.Num(pid)+file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		found := findListener(fd, port)
		sys.Close(fd)
		if found {
			return true
		}
	}
	return false
}

// findListener looks for a line with that local port in the state 0A; proc_pid_net(5):
//
//	sl  local_address rem_address   st …
//	 0: 00000000:1F90 00000000:0000 0A …
func findListener(fd int, port uint16) bool {
	const digits = "0123456789ABCDEF"
	want := [...]byte{':', digits[port>>12], digits[port>>8&15], digits[port>>4&15], digits[port&15]}
	var buf [4 << 10]byte
	n, title := 0, true
	for n < len(buf) {
		got, err := sys.Read(fd, buf[n:])
		if err != nil || got == 0 {
			return false
		}
		n += got
		text := sys.Alias(buf[:n])
		for {
			line, rest, whole := sys.Cut(text, '\n')
			if !whole {
				break
			}
			text = rest
			if title {
				title = false
				continue
			}
			_, line, _ = sys.Cut(line, ':')
			_, line, _ = sys.Cut(line, ' ')
			local, line, _ := sys.Cut(line, ' ')
			_, line, _ = sys.Cut(line, ' ')
			if state, _, _ := sys.Cut(line, ' '); state != "0A" {
				return false
			}
			if n := len(local) - len(want); n > 0 && local[n:] == string(want[:]) {
				return true
			}
		}
		n = copy(buf[:], text)
	}
	return false
}
