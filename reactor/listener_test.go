package reactor

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func connect(t testing.TB, path string) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// gate is a ListenHandler that keeps its connections and errors.
type gate struct {
	accept func(fd int)
	fds    []int
	errs   []error
}

func (g *gate) Accepted(fd int, _ Peer) {
	g.fds = append(g.fds, fd)
	if g.accept != nil {
		g.accept(fd)
	}
}

func (g *gate) AcceptFailed(err error) { g.errs = append(g.errs, err) }

func listenAt(t testing.TB, l *Loop, ln *Listener, h ListenHandler) (path string) {
	t.Helper()
	path = t.TempDir() + "/s"
	fd, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Listen(ln, fd, path, h)
	return path
}

func TestListener(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var g gate
	var ln Listener
	path := listenAt(t, l, &ln, &g)
	const n = 3*acceptBatch + 1
	for range n {
		defer unix.Close(connect(t, path))
	}
	if turns := until(t, l, "the connections", func() bool { return len(g.fds) == n }); turns < 4 {
		t.Errorf("%d connections were accepted in %d turns, want 4 turns or more", n, turns)
	}
	for _, fd := range g.fds {
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		descriptor, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if flags&unix.O_NONBLOCK == 0 || descriptor&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x and %#x, want O_NONBLOCK and FD_CLOEXEC", flags, descriptor)
		}
		closeFD(t, fd)
	}
	quiet(t, l)
}

// picky refuses every connection before the last one.
type picky struct {
	gate
	left int
}

func (p *picky) Refuse(Peer) bool {
	p.left--
	return p.left > 0
}

// TestListenerRefusesInBulk has a connection wait behind many that are refused. It is accepted
// after a few turns, each of which refuses a batch at most.
func TestListenerRefusesInBulk(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	const n = 2*refuseBatch + 10
	g := picky{left: n}
	var ln Listener
	path := listenAt(t, l, &ln, &g)
	for range n {
		defer unix.Close(connect(t, path))
	}
	turns := until(t, l, "the last connection", func() bool { return len(g.fds) == 1 })
	if turns < 3 || turns > n/refuseLeast+1 {
		t.Errorf("%d refused connections in %d turns, want 3 to %d", n-1, turns, n/refuseLeast+1)
	}
	closeFD(t, g.fds[0])
	quiet(t, l)
}

// TestListenerWantsOne has a handler that wants one connection at a time.
func TestListenerWantsOne(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var ln Listener
	g := gate{accept: func(int) { ln.Want(0) }}
	path := listenAt(t, l, &ln, &g)
	for n := range 3 {
		defer unix.Close(connect(t, path))
		if n == 0 {
			defer unix.Close(connect(t, path))
			defer unix.Close(connect(t, path))
		}
		until(t, l, "a connection", func() bool { return len(g.fds) > n })
		quiet(t, l)
		if len(g.fds) != n+1 {
			t.Fatalf("%d connections were accepted, want %d", len(g.fds), n+1)
		}
		closeFD(t, g.fds[n])
		ln.Want(Read)
	}
}

func TestListenerClosedInAccepted(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var g gate
	var ln Listener
	path := listenAt(t, l, &ln, &g)
	g.accept = func(fd int) { ln.Close(); closeFD(t, fd) }
	a, b := connect(t, path), connect(t, path)
	defer unix.Close(a)
	defer unix.Close(b)
	until(t, l, "the first", func() bool { return len(g.fds) > 0 })
	poll(t, l)
	if len(g.fds) != 1 || len(g.errs) != 0 || ln.Open() {
		t.Errorf("accepted %d, errors %v, open %v; want 1, none and false",
			len(g.fds), g.errs, ln.Open())
	}
	if _, err := recv(b, make([]byte, 1)); err != unix.ECONNRESET {
		t.Errorf("a connection that was not accepted reads %v, want ECONNRESET", err)
	}
}

// TestListenerOnTheWrongSocket listens on a socket that is not listening. The listener is closed
// and does not spin.
func TestListenerOnTheWrongSocket(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var g gate
	var ln Listener
	l.Listen(&ln, fd, "wrong", &g)
	until(t, l, "the error", func() bool { return len(g.errs) > 0 })
	if ln.Open() || !errors.Is(g.errs[0], unix.EINVAL) {
		t.Errorf("listener open %v, errors %v, want false and EINVAL", ln.Open(), g.errs)
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	taken := t.TempDir() + "/taken"
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]unix.Errno{taken: unix.EADDRINUSE, "/nowhere/at/all": unix.ENOENT} {
		_, err := ListenUnix(path)
		var e *Error
		if !errors.As(err, &e) || e.Errno != want || e.Op != "bind" || e.Object != path {
			t.Errorf("ListenUnix(%s) = %v, want bind, %v", path, err, want)
		}
	}
}

func init() { roles["out of descriptors"] = outOfDescriptors }

// TestListenerOutOfDescriptors uses up the descriptors. The listener pauses, and accepts every
// connection as soon as there are some.
func TestListenerOutOfDescriptors(t *testing.T) {
	t.Parallel()
	play(t, role(t, "out of descriptors"))
}

func outOfDescriptors() error {
	const clients, room = 40, 5
	l, err := New(0)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := dir + "/s"
	fd, err := ListenUnix(path)
	if err != nil {
		return err
	}
	for i := range clients {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		unix.Write(c, []byte{byte(i)})
	}
	next, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next + room), Max: uint64(next + room)}); err != nil {
		return err
	}
	var g gate
	var ln Listener
	l.Listen(&ln, fd, path, &g)
	seen := map[byte]int{}
	serve := func() {
		for _, fd := range g.fds {
			var b [1]byte
			unix.Read(fd, b[:])
			seen[b[0]]++
			unix.Close(fd)
		}
		g.fds = g.fds[:0]
	}
	turns, began := 0, Now()
	for len(g.errs) < 3 {
		if err := l.turn(); err != nil {
			return err
		}
		turns++
	}
	if took := Now() - began; turns > 10 || took < 2*acceptPause { // one turn for each pause and attempt, unless it spins
		return fmt.Errorf("%d turns and %v for three attempts, want 10 turns at most and %v",
			turns, took, 2*acceptPause)
	}
	if len(g.fds) != room || !errors.Is(g.errs[0], unix.EMFILE) {
		return fmt.Errorf("accepted %d, errors %v, want %d and EMFILE", len(g.fds), g.errs, room)
	}
	for len(seen) < clients {
		serve()
		if err := l.turn(); err != nil {
			return err
		}
	}
	for id, n := range seen {
		if n != 1 {
			return fmt.Errorf("connection %d was accepted %d times, want once", id, n)
		}
	}
	return nil
}
