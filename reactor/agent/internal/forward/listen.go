package forward

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// backlog limits the connections that wait in the kernel. net.core.somaxconn limits them too.
const backlog = 1024

// listener is a listen: a socket, and a channel that announces connections.
type listener struct {
	socket  reactor.Listener
	service *Service
	conn    *wire.Conn
	seq     uint32
	path    string // of a Unix socket's file; dev and inode identify the file
	dev     uint64
	inode   uint64
	waiting []arrival
	failure error // that ended it, or nil
	ended   bool
}

// arrival is a connection that the host has not accepted.
type arrival struct {
	id   uint64
	fd   int
	told bool
}

// listen handles the request.
func (s *Service) listen(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseListen(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	name := string(q.Address)
	addresses, bad := parse(q.Network, name, true)
	n := 0
	for _, o := range s.open {
		if l, ok := o.(*listener); ok && l.conn == c {
			n++
		}
	}
	switch {
	case bad != nil:
	case n == maxListeners:
		bad = worded(framing.StageSocket, unix.EMFILE, "too many listeners (limit 64)")
	case q.Network == framing.NetworkUnix && name[0] != '@' && s.Disk.Held():
		bad = &failure{stage: framing.StageBind, err: files.ErrFrozen}
	}
	if bad != nil {
		bad.done(c, p.Seq)
		return nil
	}
	s.Garbage.Collect(linkGarbage)
	l := &listener{service: s, conn: c, seq: p.Seq}
	fd := -1
	for i := range addresses {
		var f *failure
		if fd, f = l.open(addresses[i], name); f == nil {
			break
		}
		if bad == nil {
			bad = f
		}
		// The next address is tried only if the kernel lacks the family of this one. Otherwise a
		// listener of another program on this address would go unnoticed.
		if e := sys.ErrnoOf(f.err); e != unix.EAFNOSUPPORT && e != unix.EADDRNOTAVAIL {
			break
		}
	}
	if fd < 0 {
		bad.done(c, p.Seq)
		return nil
	}
	s.open = append(s.open, l)
	s.Loop.Listen(&l.socket, fd, name, l)
	c.OpenChannel(p.Seq, l)
	at := addressText(unix.SYS_GETSOCKNAME, fd)
	c.Reply(framing.AppendListening(c.Space(framing.HeaderSize+2+len(at)), p.Seq, at))
	return nil
}

// open makes a socket that listens.
func (l *listener) open(a address, name string) (int, *failure) {
	fd, err := unix.Socket(int(a[0]), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, failed(framing.StageSocket, "socket", name, err)
	}
	file := a[0] == unix.AF_UNIX && a[2] != 0
	if file {
		sys.Fchmod(fd, 0o600) // the file gets the socket's mode, less the umask; unix(7)
	} else {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // without effect on a Unix socket
	}
	if a[0] == unix.AF_INET6 && name[0] == ':' {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err := sys.WithAddress(unix.SYS_BIND, fd, a); err != nil {
		unix.Close(fd)
		return -1, failed(framing.StageBind, "bind", name, err)
	}
	if file {
		var st unix.Stat_t
		if unix.Lstat(name, &st) == nil {
			l.path, l.dev, l.inode = name, st.Dev, st.Ino
		}
	}
	if err := unix.Listen(fd, backlog); err != nil {
		unix.Close(fd)
		l.remove()
		return -1, failed(framing.StageListen, "listen", name, err)
	}
	return fd, nil
}

// remove removes the file of a Unix socket, unless another file has its name by now. The directory
// is held open, so a link that appears in the path meanwhile has no effect.
func (l *listener) remove() {
	if l.path == "" {
		return
	}
	if l.service.Disk.Held() {
		l.service.Disk.OnRelease(l.remove)
		return
	}
	at, err := files.OpenEntry("unlink", l.path, false, false)
	l.path = ""
	if err != nil {
		return
	}
	var st unix.Stat_t
	err = sys.Fstatat(at.Dir, at.Base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Dev == l.dev && st.Ino == l.inode {
		unix.Unlinkat(at.Dir, at.Base, 0)
	}
	at.Close()
}

// Accepted implements [reactor.ListenHandler].
func (l *listener) Accepted(fd int, _ reactor.Peer) {
	l.service.lastID++
	l.waiting = append(l.waiting, arrival{id: l.service.lastID, fd: fd})
	if len(l.waiting) >= maxWaiting {
		l.socket.Want(0)
	}
	l.conn.Queue(l)
}

// AcceptFailed implements [reactor.ListenHandler].
func (l *listener) AcceptFailed(err error) {
	if !l.socket.Open() {
		l.failure = err
		l.conn.Queue(l)
	}
}

// Produce implements [wire.Producer].
func (l *listener) Produce() (more bool) {
	for i := range l.waiting {
		a := &l.waiting[i]
		if a.told {
			continue
		}
		a.told = true
		from := addressText(unix.SYS_GETPEERNAME, a.fd)
		l.conn.Reply(framing.AppendIncoming(l.conn.Space(framing.HeaderSize+8+2+len(from)), l.seq, a.id, from))
		return true
	}
	if l.failure != nil {
		l.conn.CloseChannel(l)
		l.Lost()
		(&failure{stage: framing.StageListen, err: l.failure}).done(l.conn, l.seq)
	}
	return false
}

// End implements [wire.Channel].
func (l *listener) End(s framing.Stream) {
	if s == framing.StreamInput {
		l.conn.CloseChannel(l)
		l.Lost()
		l.conn.Done(l.seq, 0, nil)
	}
}

// Lost implements [wire.Channel].
func (l *listener) Lost() {
	if l.ended {
		return
	}
	l.ended = true
	l.stop()
	l.remove()
	for _, a := range l.waiting {
		resetOnClose(a.fd)
		unix.Close(a.fd)
	}
	l.waiting = nil
	l.service.open = sys.Remove(l.service.open, wire.Producer(l))
}

// stop closes the socket at once, because the next frame may ask for its address again. [reactor]
// would close it at the end of the turn. A shutdown frees the port even if a child that was forked,
// and has not executed its program yet, holds a copy of the socket.
func (l *listener) stop() {
	fd := l.socket.Release()
	l.socket.Close() // its pause
	if fd >= 0 {
		unix.Shutdown(fd, unix.SHUT_RDWR)
		unix.Close(fd)
	}
}

// Failed implements [reactor.Failer].
func (l *listener) Failed(value any, stack []byte) {
	l.service.Log.Panic("forward", value, stack)
	l.stop()
	l.failure = unix.EIO
	l.conn.Queue(l)
}

// accept handles the request.
func (s *Service) accept(c *wire.Conn, p *framing.Part) error {
	id, credit, err := framing.ParseAccept(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	for _, o := range s.open {
		l, ok := o.(*listener)
		if !ok || l.conn != c {
			continue
		}
		for i, a := range l.waiting {
			if a.id != id || !a.told {
				continue
			}
			k := s.newLink(c, p.Seq, credit)
			if k == nil {
				return nil
			}
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			l.socket.Want(reactor.Read)
			s.Loop.Attach(&k.socket, a.fd, k)
			k.begin()
			return nil
		}
	}
	worded(0, unix.ENOENT, "accept: unknown connection").done(c, p.Seq)
	return nil
}
