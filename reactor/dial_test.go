package reactor

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// call is a DialHandler that records the outcome.
type call struct {
	d    Dial
	fd   int
	errs []error
}

func (c *call) Connected(fd int)     { c.fd = fd }
func (c *call) DialFailed(err error) { c.errs = append(c.errs, err) }

func TestDial(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var ln Listener
	var g gate
	path := listenAt(t, l, &ln, &g)
	var c call
	l.DialUnix(&c.d, path, &c)
	if c.fd != 0 {
		t.Error("Connected was called before a turn")
	}
	until(t, l, "the connection", func() bool { return c.fd != 0 && len(g.fds) == 1 })
	if c.d.Open() || len(c.errs) != 0 {
		t.Errorf("dial open %v, errors %v, want neither", c.d.Open(), c.errs)
	}
	write(t, c.fd, "hello")
	if got := string(drain(t, g.fds[0])); got != "hello" {
		t.Errorf("read %q, want hello", got)
	}
	closeFD(t, c.fd)
	closeFD(t, g.fds[0])

	// Use the Dial again, and close it before the outcome.
	c.fd = 0
	l.DialUnix(&c.d, path, &c)
	c.d.Close()
	until(t, l, "the connection", func() bool { return len(g.fds) == 2 })
	if n, err := recv(g.fds[1], make([]byte, 1)); n != 0 || err != nil || c.fd != 0 {
		t.Errorf("read %d, %v from a dial closed before its outcome, Connected(%d); want 0, no error and no call",
			n, err, c.fd)
	}
	closeFD(t, g.fds[1])
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	dir := t.TempDir()
	stale := dir + "/stale"
	fd, err := ListenUnix(stale)
	if err != nil {
		t.Fatal(err)
	}
	closeFD(t, fd)
	full := dir + "/full"
	if fd, err = ListenUnix(full); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(connect(t, full))
	for path, want := range map[string]unix.Errno{
		stale:                    unix.ECONNREFUSED,
		dir + "/nothing":         unix.ENOENT,
		full:                     unix.EAGAIN,
		strings.Repeat("x", 200): unix.EINVAL,
	} {
		var c call
		l.DialUnix(&c.d, path, &c)
		var e *Error
		if len(c.errs) != 1 || !errors.As(c.errs[0], &e) || e.Errno != want || e.Op != "connect" || e.Object != path || c.d.Open() {
			t.Errorf("DialUnix(%s) failed with %v, dial open %v; want connect, %v",
				path, c.errs, c.d.Open(), want)
		}
	}
	poll(t, l)
}

func TestVsockName(t *testing.T) {
	t.Parallel()
	for want, at := range map[string]uint32{"vsock 2:1000": 2, "vsock any:1000": unix.VMADDR_CID_ANY} {
		if got := VsockName(at, 1000); got != want {
			t.Errorf("VsockName(%d, 1000) = %q, want %q", at, got, want)
		}
	}
}
