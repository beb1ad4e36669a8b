package reactor

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// DialHandler is told the outcome of a dial.
type DialHandler interface {
	// Connected receives the connection, which is non-blocking and close-on-exec. The handler owns
	// it.
	Connected(fd int)
	// DialFailed is told why there is no connection. The dial is closed by then.
	DialFailed(err error)
}

// Dial is a connection attempt. The zero Dial is idle, and a Dial is idle again before its handler
// is called.
type Dial struct {
	Descriptor
	handler DialHandler
	name    string
}

// DialUnix connects to the socket at path and tells h the outcome, once. If the kernel refuses at
// once it does so before it returns. An error is an *Error. Closing d abandons the attempt, and h
// is not called. DialUnix panics if d is not idle.
func (l *Loop) DialUnix(d *Dial, path string, h DialHandler) {
	l.dial(d, unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, path, h)
}

// DialVsock connects to a port of a context, as DialUnix does to a path; vsock(7). The kernel gives
// up after 2 s. A host without a listener there answers ECONNRESET.
func (l *Loop) DialVsock(d *Dial, cid, port uint32, h DialHandler) {
	l.dial(d, unix.AF_VSOCK, &unix.SockaddrVM{CID: cid, Port: port}, VsockName(cid, port), h)
}

// VsockName returns a vsock address as errors and logs write it: "vsock 2:1000".
func VsockName(cid, port uint32) string {
	c := strconv.FormatUint(uint64(cid), 10)
	if cid == unix.VMADDR_CID_ANY {
		c = "any"
	}
	return "vsock " + c + ":" + strconv.FormatUint(uint64(port), 10)
}

// dial reports every outcome to the handler, possibly before it returns.
func (l *Loop) dial(d *Dial, family int, to unix.Sockaddr, name string, h DialHandler) {
	if d.Open() {
		panic("reactor: dial is under way")
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.DialFailed(wrap("socket", name, err))
		return
	}
	err = unix.Connect(fd, to)
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		// EAGAIN means that the backlog of a Unix socket is full, not that a connection is under
		// way; unix(7).
		unix.Close(fd)
		h.DialFailed(wrap("connect", name, err))
		return
	}
	d.handler, d.name = h, name
	l.Attach(&d.Descriptor, fd, d)
	d.Want(Write) // it reports a connection that is complete already, too, in the next turn
}

// Failed implements [Failer].
func (d *Dial) Failed(value any, stack []byte) {
	d.Close()
	passOn(d.handler, value, stack)
}

// Ready implements [Handler].
func (d *Dial) Ready(Events) {
	errno, err := unix.GetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		d.Close()
		d.handler.DialFailed(wrap("connect", d.name, err))
		return
	}
	l := d.loop
	fd, taken := d.Release(), false
	defer func() {
		if !taken {
			l.closeOrphan(fd) // the connection must not outlive a panic
		}
	}()
	d.handler.Connected(fd)
	taken = true
}
