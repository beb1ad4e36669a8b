package workload

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxNotification is the longest notification, in bytes.
	maxNotification = 4 << 10
	// notifyGarbage is the garbage of one, in bytes.
	notifyGarbage = 2 << 10
)

// notifier is the socket on which services say how they are; sd_notify(3). Its abstract name needs
// no writable directory.
type notifier struct {
	reactor.Descriptor
	room *Service
	name string // as NOTIFY_SOCKET has it, or ""
}

// open opens the socket at the first call, and returns its name. The name is empty if it cannot be
// opened.
func (n *notifier) open(s *Service) string {
	if n.Open() {
		return n.name
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = n.bind(fd)
	}
	if err != nil {
		s.Log.Warn("services cannot notify", "error", err.Error())
		sys.Close(fd)
		return ""
	}
	n.room = s
	s.Loop.Attach(&n.Descriptor, fd, n)
	n.Want(reactor.Read)
	return n.name
}

// bind gives the socket a name that the kernel chooses, and has it tell who sends.
func (n *notifier) bind(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	if err := sys.WithAddress(unix.SYS_BIND, fd, []byte{unix.AF_UNIX, 0}); err != nil {
		return err
	}
	var address [64]byte
	size := sys.AddressOf(unix.SYS_GETSOCKNAME, fd, address[:])
	if size < 4 {
		return unix.EINVAL
	}
	n.name = "@" + string(address[3:size])
	return nil
}

// Ready implements [reactor.Handler]. It takes one notification a turn.
func (n *notifier) Ready(reactor.Events) {
	s := n.room
	s.Garbage.Collect(notifyGarbage)
	content := s.Loop.Scratch()[:maxNotification]
	var control [256]byte
	size, controlSize, cut, err := sys.RecvControl(n.FD(), content, control[:])
	if err != nil {
		return
	}
	// A descriptor that came along is a barrier: its sender waits until it is closed.
	pid := sender(control[:controlSize])
	for _, u := range s.units {
		if u.running() && u.process != nil && u.process.Has(pid) {
			if cut {
				break
			}
			u.Started(u.process.PID()) // the loop may hear of that later
			u.notified(string(content[:size]))
			return
		}
	}
	s.Log.Warn("notification ignored", "pid", sys.Num(pid), "bytes", sys.Num(size))
}

// Failed implements [reactor.Failer].
func (n *notifier) Failed(value any, stack []byte) { n.room.Failed(value, stack) }

// sender returns the process that a control message names, and closes the descriptors that came
// along; unix(7).
func sender(control []byte) (pid int) {
	const head = unix.SizeofCmsghdr
	u32 := func(b []byte) int {
		return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 | int(b[3])<<24
	}
	for len(control) >= head {
		size := u32(control)
		if size < head || size > len(control) {
			break
		}
		data := control[head:size]
		switch u32(control[12:]) {
		case unix.SCM_CREDENTIALS:
			if len(data) >= unix.SizeofUcred {
				pid = u32(data)
			}
		case unix.SCM_RIGHTS:
			for ; len(data) >= 4; data = data[4:] {
				sys.Close(u32(data))
			}
		}
		control = control[min((size+7)&^7, len(control)):]
	}
	return pid
}

// notified takes a notification of its process: lines of NAME=VALUE. Those that are not known are
// left to other managers of services.
func (u *unit) notified(text string) {
	for more := true; more; {
		var line string
		line, text, more = sys.Cut(text, '\n')
		switch name, value, _ := sys.Cut(line, '='); {
		case line == "READY=1":
			u.feed()
			if u.state == starting && u.spec.ready == readyNotify {
				u.becomeReady()
			}
		case line == "STOPPING=1":
			if u.state == starting || u.state == ready {
				u.watchdog.Stop()
				u.timer.Stop()
				u.endProbe()
				u.enter(stopping)
			}
		case line == "WATCHDOG=1":
			u.feed()
		case line == "WATCHDOG=trigger":
			if u.running() && !u.signalled {
				u.miss()
			}
		case name == "WATCHDOG_USEC":
			if n, rest, ok := sys.TakeNumber(value); ok && rest == "" {
				u.setPeriod(n)
			}
		case name == "STATUS":
			u.status = sys.Clip(value, maxError)
			u.room.changed()
		}
	}
}

// setPeriod sets the time of the watchdog, in microseconds. 0 turns it off.
func (u *unit) setPeriod(us uint64) {
	u.period = time.Duration(min(us, maxGrace*1e6)) * time.Microsecond
	if u.watchdog.Stop(); u.period > 0 {
		u.feed()
	}
}
