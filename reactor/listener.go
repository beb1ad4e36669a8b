package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// acceptBatch is the most connections taken in one turn.
	acceptBatch = 16
	// refuseBatch is the most connections refused in one turn. The turn also ends after
	// refuseLimit, but not before refuseLeast of them. It is larger than acceptBatch, because a
	// connection to accept may wait behind them.
	refuseBatch = 256
	refuseLeast = 32
	refuseLimit = 5 * time.Millisecond
	// backlog is how many connections may wait to be accepted, if net.core.somaxconn allows that
	// many. When it is full the kernel refuses more. Each takes about 1.5 kB of the kernel's
	// memory.
	backlog = 1024
	// acceptPause is how long a listener pauses when the process has no descriptor or memory left.
	// The socket stays readable then, so the loop would spin without a pause.
	acceptPause = 100 * time.Millisecond
)

// ListenHandler receives the connections of a listener.
type ListenHandler interface {
	// Accepted receives a connection, which is non-blocking and close-on-exec. The handler owns it.
	Accepted(fd int, peer Peer)
	// AcceptFailed is told why no connection can be accepted for now. If the listener is closed by
	// then, the failure is permanent.
	AcceptFailed(err error)
}

// Refuser is a [ListenHandler] that has some connections closed at once. Refuse is called first,
// and Accepted only if it returns false.
type Refuser interface {
	Refuse(peer Peer) bool
}

// Peer is the far end of a connection. It is zero for a Unix socket.
type Peer struct {
	// CID and Port are the vsock address.
	CID, Port uint32
}

// Listener accepts connections. The zero Listener is closed.
type Listener struct {
	Descriptor
	handler ListenHandler
	name    string
	pause   Timer
}

// Listen accepts connections from fd, a non-blocking listening socket, which the loop owns from now
// on. name is for errors.
func (l *Loop) Listen(ln *Listener, fd int, name string, h ListenHandler) {
	ln.handler, ln.name = h, name
	l.Attach(&ln.Descriptor, fd, ln)
	ln.Want(Read)
}

// Close stops listening. The kernel resets connections that were not accepted yet.
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
			if ln.want == 0 { // closed, or its handler wants no more for now
				return
			}
		case interrupted:
			taken++
		case wouldBlock:
			return
		case exhausted, gone:
			// An error of the connection is not the listener's, and the kernel may report it many
			// times.
			ln.rest(err)
			return
		default:
			ln.Close()
			ln.handler.AcceptFailed(wrap("accept", ln.name, err))
			return
		}
	}
}

// accepted passes a connection to the handler, and closes it if the handler panics.
func (ln *Listener) accepted(fd int, peer Peer) {
	l, taken := ln.loop, false
	defer func() {
		if !taken {
			l.closeOrphan(fd)
		}
	}()
	ln.handler.Accepted(fd, peer)
	taken = true
}

// Failed implements [Failer]. The listener goes on after a panic over one connection.
func (ln *Listener) Failed(value any, stack []byte) { passOn(ln.handler, value, stack) }

func (ln *Listener) rest(err error) {
	ln.Want(0)
	ln.loop.Start(&ln.pause, acceptPause, ln)
	ln.handler.AcceptFailed(wrap("accept", ln.name, err))
}

// Expired implements [TimerHandler]. It ends the pause.
func (ln *Listener) Expired(*Timer) { ln.Want(Read) }

// ListenVsock returns a socket that listens on port, for every CID. A snapshot that is restored
// elsewhere may change the machine's CID. An error is an *Error.
func ListenVsock(port uint32) (fd int, err error) {
	return listen(unix.AF_VSOCK, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port},
		VsockName(unix.VMADDR_CID_ANY, port))
}

// ListenUnix returns a socket that listens at path, which must not exist yet (EADDRINUSE). Its mode
// is 0600 from the first moment. The caller removes the file afterwards. An error is an *Error.
func ListenUnix(path string) (fd int, err error) {
	return listen(unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, path)
}

func listen(family int, at unix.Sockaddr, name string) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, wrap("socket", name, err)
	}
	if family == unix.AF_UNIX {
		// bind gives the file the mode of the socket, less the umask; unix(7).
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
