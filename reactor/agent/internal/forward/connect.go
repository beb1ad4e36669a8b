package forward

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// backlogPause is the time until a Unix socket whose backlog is full is tried again.
	// backlogGrace limits how long that goes on if the host gives no time.
	backlogPause = 10 * time.Millisecond
	backlogGrace = 5 * time.Second
)

// dial is a connect under way.
type dial struct {
	name string    // the address as the host gave it
	left []address // the address being tried, and those to try next
	err  *failure  // the first one
}

// connect handles the request.
func (s *Service) connect(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseConnect(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	name := string(q.Address)
	addresses, bad := parse(q.Network, name, false)
	if bad != nil {
		bad.done(c, p.Seq)
		return nil
	}
	k := s.newLink(c, p.Seq, q.Credit)
	if k == nil {
		return nil
	}
	k.dial = &dial{name: name, left: addresses}
	timeout := time.Duration(q.TimeoutMS) * time.Millisecond
	if timeout == 0 && q.Network == framing.NetworkUnix {
		timeout = backlogGrace
	}
	if timeout > 0 {
		s.Loop.Start(&k.timer, timeout, k)
	}
	k.try()
	return nil
}

// try tries one address after the other, until one is connected or under way.
func (k *link) try() {
	for d := k.dial; len(d.left) > 0; {
		fd, err := unix.Socket(int(d.left[0][0]), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			k.missed(framing.StageSocket, "socket", err)
			continue
		}
		k.service.Loop.Attach(&k.socket, fd, k)
		if k.again() {
			return
		}
	}
	k.refuse(k.dial.err)
}

// again calls connect(2). It reports false if the next address is to be tried.
func (k *link) again() bool {
	a := k.dial.left[0]
	switch err := sys.WithAddress(unix.SYS_CONNECT, k.socket.FD(), a); {
	case err == nil, err == unix.EISCONN:
		k.begin()
	case err == unix.EINPROGRESS, err == unix.EINTR, err == unix.EALREADY:
		k.interest()
	case err == unix.EAGAIN && a[0] == unix.AF_UNIX:
		k.service.Loop.Start(&k.retry, backlogPause, k)
	default:
		k.missed(framing.StageConnect, "connect", err)
		return false
	}
	return true
}

// missed gives up an address, and keeps the first failure. A family that the kernel lacks says less
// than any other failure.
func (k *link) missed(stage framing.ForwardStage, op string, err error) {
	d := k.dial
	k.socket.Close()
	if d.err == nil || sys.IsErrno(d.err.err, unix.EAFNOSUPPORT) {
		d.err = failed(stage, op, d.name, err)
	}
	d.left = d.left[1:]
}

// connected is called when a connect under way has ended.
func (k *link) connected() {
	fd := k.socket.FD()
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil && k.dial.left[0][0] != unix.AF_UNIX &&
		string(addressText(unix.SYS_GETSOCKNAME, fd)) == string(addressText(unix.SYS_GETPEERNAME, fd)) {
		// Nothing listens, and the kernel chose that very port for the socket, which met itself.
		err = unix.ECONNREFUSED
	}
	if err == nil {
		k.begin()
		return
	}
	k.missed(framing.StageConnect, "connect", err)
	k.try()
}

// refuse ends a connect.
func (k *link) refuse(f *failure) {
	k.failure = f
	k.close()
	k.push()
}
