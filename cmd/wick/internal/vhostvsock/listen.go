package vhostvsock

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxUnixPath is the longest path of a Unix socket in bytes, without the terminating NUL.
	maxUnixPath = len(unix.RawSockaddrUnix{}.Path) - 1
	// maxGreeting is the longest line "CONNECT <port>\n", in bytes.
	maxGreeting = 32
	backlog     = 128
	// acceptRetry is the delay before accepting again after a failure, usually for lack of
	// descriptors.
	acceptRetry = 100 * time.Millisecond
)

// hostPath returns the path on which a host program listens for guests that connect to port.
func hostPath(uds string, port uint32) string {
	return uds + "_" + strconv.FormatUint(uint64(port), 10)
}

// okLine returns the line that tells a host program that the guest accepted.
func okLine(hostPort uint32) []byte { return fmt.Appendf(nil, "OK %d\n", hostPort) }

// parseGreeting parses "CONNECT <port>\n" in either case, as Firecracker does.
func parseGreeting(line []byte) (port uint32, err error) {
	fields := bytes.Fields(line)
	if len(fields) != 2 || !bytes.EqualFold(fields[0], []byte("connect")) {
		return 0, fmt.Errorf("greeting %q is not CONNECT <port>", line)
	}
	n, err := strconv.ParseUint(string(fields[1]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("greeting %q: bad port", line)
	}
	return uint32(n), nil
}

// unixSocket is a bound socket and the file with its name.
type unixSocket struct {
	fd       int
	path     string
	dev, ino uint64
}

// bindUnix listens at path, which must not exist.
func bindUnix(path string) (*unixSocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("create socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind %s: %w", path, err)
	}
	s := &unixSocket{fd: fd, path: path}
	var st unix.Stat_t
	err = unix.Lstat(path, &st)
	s.dev, s.ino = uint64(st.Dev), st.Ino
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return s, nil
}

// close closes the socket and removes its file, unless the file was replaced.
func (s *unixSocket) close() {
	var st unix.Stat_t
	if unix.Lstat(s.path, &st) == nil && uint64(st.Dev) == s.dev && st.Ino == s.ino {
		unix.Unlink(s.path)
	}
	unix.Close(s.fd)
}

// accept returns a non-blocking stream, or unix.EAGAIN.
func (s *unixSocket) accept() (int, error) {
	for {
		fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != unix.EINTR && err != unix.ECONNABORTED {
			return fd, err
		}
	}
}

// dialUnix connects without waiting. A listener with a full backlog refuses (unix.EAGAIN).
func dialUnix(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("create socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", path, err)
	}
	return fd, nil
}

// listener accepts host programs at UDS while the device runs, and reads their greetings.
type listener struct {
	m         *muxer
	source    *source // of the Device's socket, borrowed
	socket    *unixSocket
	greetings map[*greeting]struct{}
	closed    bool
}

// greeting is a host program that has not yet named its port. It may start at any time, but must
// then finish within patience.
type greeting struct {
	l      *listener
	source *source
	buf    [maxGreeting]byte
	n      int
}

func (m *muxer) startListening(socket *unixSocket) error {
	l := &listener{m: m, socket: socket, greetings: map[*greeting]struct{}{}}
	l.source = m.poll.add(socket.fd, func(uint32) { l.accept() })
	m.listen = l
	return l.source.want(unix.EPOLLIN)
}

// stopListening leaves new host programs in the backlog. It disconnects accepted ones that have no
// connection yet.
func (m *muxer) stopListening() {
	if m.listen == nil {
		return
	}
	l := m.listen
	m.listen = nil
	l.closed = true
	l.source.release()
	for g := range l.greetings {
		g.source.close()
	}
	clear(l.greetings)
}

func (l *listener) accept() {
	fd, err := l.socket.accept()
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		// A waiting connection keeps the listener readable, so pause polling for a while.
		l.m.log.Warn("cannot accept a host program", "err", err)
		l.source.want(0)
		at := l.m.now().Add(acceptRetry)
		l.m.retries.push(timer{at: at, expire: l.roomAgain})
	case l.m.full():
		l.m.log.Warn("host program rejected: too many connections")
		unix.Close(fd)
	default:
		g := &greeting{l: l}
		g.source = l.m.poll.add(fd, func(uint32) { g.read() })
		l.greetings[g] = struct{}{}
		if err := g.source.want(unix.EPOLLIN); err != nil {
			g.end(err)
		}
	}
}

// roomAgain is called when a descriptor may have become free.
func (l *listener) roomAgain() {
	if !l.closed {
		l.source.want(unix.EPOLLIN)
	}
}

// read reads exactly the greeting from the stream, because the following bytes are for the guest.
func (g *greeting) read() {
	n, _, err := unix.Recvfrom(g.source.fd, g.buf[g.n:], unix.MSG_PEEK)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		g.end(errors.New("host program left before CONNECT"))
		return
	}
	whole := false
	if i := bytes.IndexByte(g.buf[g.n:g.n+n], '\n'); i >= 0 {
		n, whole = i+1, true
	}
	if _, err := unix.Read(g.source.fd, g.buf[g.n:g.n+n]); err != nil {
		g.end(err)
		return
	}
	if g.n == 0 && !whole {
		g.l.m.timers.push(timer{at: g.l.m.now().Add(patience),
			expire: func() { g.end(errors.New("greeting timed out")) }})
	}
	if g.n += n; !whole {
		if g.n == len(g.buf) {
			g.end(errors.New("greeting too long"))
		}
		return
	}
	port, err := parseGreeting(g.buf[:g.n])
	if err != nil {
		g.end(err)
		return
	}
	delete(g.l.greetings, g)
	g.l.m.connectGuest(g.source.release(), port)
}

// end disconnects the host program if it is still there.
func (g *greeting) end(err error) {
	if _, ok := g.l.greetings[g]; !ok {
		return
	}
	g.l.m.log.Debug("host program rejected", "err", err)
	delete(g.l.greetings, g)
	g.source.close()
	g.l.roomAgain()
}
