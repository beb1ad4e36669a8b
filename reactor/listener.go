package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// acceptBatch is the most connections taken in one turn.
	acceptBatch = 16
	// refuseBatch is the most connections refused in one turn, which ends after refuseLimit too,
	// but not before refuseLeast of them. It is larger than acceptBatch, because one that will be
	// accepted may wait behind them.
	refuseBatch = 256
	refuseLeast = 32
	refuseLimit = 5 * time.Millisecond
	// backlog is how many connections wait to be accepted, if net.core.somaxconn allows that many.
	// When it is full the kernel refuses more. Each takes about 1.5 kB of the kernel's memory.
	backlog = 1024
	// acceptPause is how long a listener rests when the process is out of descriptors or memory. Its socket stays readable
	// then, so without a pause the loop would spin.
	acceptPause = 100 * time.Millisecond
)

// ListenHandler is who gets a listener's connections.
type ListenHandler interface {
	// Accepted is given a connection, non-blocking and close-on-exec, and owns it.
	Accepted(fd int, peer Peer)
	// AcceptFailed is told why no connection can be taken for now. If the listener is closed already it is for good.
	AcceptFailed(err error)
}

// Refuser is a [ListenHandler] that has some connections closed at once. It is asked before
// Accepted is called, which does not see them.
type Refuser interface {
	Refuse(peer Peer) bool
}

// Peer is the far end of a connection. On a Unix socket it has no name worth knowing, and is zero.
type Peer struct {
	// CID and Port are its vsock address.
	CID, Port uint32
}

// Listener accepts connections. The zero Listener is closed.
type Listener struct {
	Descriptor
	handler ListenHandler
	name    string
	pause   Timer
}

// Listen takes connections from fd, a bound and listening non-blocking socket, which the loop owns from now on. name is for errors.
func (l *Loop) Listen(ln *Listener, fd int, name string, h ListenHandler) {
	ln.handler, ln.name = h, name
	l.Attach(&ln.Descriptor, fd, ln)
	ln.Want(Read)
}

// Close stops listening. Connections that nobody accepted are refused.
func (ln *Listener) Close() {
	ln.pause.Stop()
	ln.Descriptor.Close()
}

// Ready implements [Handler].
func (ln *Listener) Ready(Events) {
	refuser, _ := ln.handler.(Refuser)
	began := Now()
	for taken, refused := 0, 0; taken < acceptBatch && refused < refuseBatch; {
		fd, peer, err := accept(ln.fd)
		switch judge(err) {
		case fine:
			if refuser != nil && refuser.Refuse(peer) {
				unix.Close(fd)
				if refused++; refused%refuseLeast == 0 && Now()-began >= refuseLimit {
					return
				}
				continue
			}
			taken++
			ln.accepted(fd, peer)
			if !ln.Open() {
				return
			}
		case again:
			taken++
		case later:
			return
		case exhausted, gone:
			// A connection's end is not the listener's, and the kernel may say it again and again.
			ln.rest(err)
			return
		default:
			ln.Close()
			ln.handler.AcceptFailed(wrap("accept", ln.name, err))
			return
		}
	}
}

// accepted hands a connection on, and sees to it that it does not outlive a panic.
func (ln *Listener) accepted(fd int, peer Peer) {
	l, taken := ln.loop, false
	defer func() {
		if !taken {
			l.disown(fd)
		}
	}()
	ln.handler.Accepted(fd, peer)
	taken = true
}

// Failed implements [Failer]: a panic over one connection does not end the listening.
func (ln *Listener) Failed(value any, stack []byte) { passOn(ln.handler, value, stack) }

func (ln *Listener) rest(err error) {
	ln.Want(0)
	ln.loop.Start(&ln.pause, acceptPause, ln)
	ln.handler.AcceptFailed(wrap("accept", ln.name, err))
}

// Expired implements [TimerHandler]: the rest is over.
func (ln *Listener) Expired(*Timer) { ln.Want(Read) }

// ListenVsock makes a listening socket for port on every CID that the machine has: a snapshot restored elsewhere may change it.
// The error is an *Error.
func ListenVsock(port uint32) (fd int, err error) {
	return listen(unix.AF_VSOCK, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}, VsockName(unix.VMADDR_CID_ANY, port))
}

// ListenUnix makes a listening socket at path, where nothing may be yet (EADDRINUSE). Its mode is 0600 from the first moment. Nobody removes
// the file afterwards but the caller. The error is an *Error.
func ListenUnix(path string) (fd int, err error) {
	return listen(unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, path)
}

func listen(family int, at unix.Sockaddr, name string) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, wrap("socket", name, err)
	}
	if family == unix.AF_UNIX {
		// bind gives the file the socket's own mode, less the umask; unix(7).
		if err := unix.Fchmod(fd, 0o600); err != nil {
			unix.Close(fd)
			return -1, wrap("fchmod", name, err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		unix.Close(fd)
		return -1, wrap("bind", name, err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		unix.Close(fd)
		return -1, wrap("listen", name, err)
	}
	return fd, nil
}
