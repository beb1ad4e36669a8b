package reactor

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// DialHandler is who learns of a dial's outcome.
type DialHandler interface {
	// Connected is given the connection, non-blocking and close-on-exec, and owns it.
	Connected(fd int)
	// DialFailed is told why there is none. The dial is closed already.
	DialFailed(err error)
}

// Dial is a connection being made. The zero Dial is idle, and it is idle again when its outcome is told.
type Dial struct {
	Descriptor
	handler DialHandler
	name    string
}

// DialUnix connects to the socket at path. h learns of the outcome, once, and if the kernel refuses at once then before DialUnix returns;
// the error is an *Error. Closing d gives it up, and h hears nothing. A dial that is under way must not be dialed again; it panics.
func (l *Loop) DialUnix(d *Dial, path string, h DialHandler) {
	l.dial(d, unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, path, h)
}

// DialVsock is DialUnix for a port of a context; vsock(7). The kernel gives up after 2 s; a host where nobody listens answers ECONNRESET.
func (l *Loop) DialVsock(d *Dial, cid, port uint32, h DialHandler) {
	l.dial(d, unix.AF_VSOCK, &unix.SockaddrVM{CID: cid, Port: port}, VsockName(cid, port), h)
}

// VsockName is how errors and logs write a vsock address: "vsock 2:1000".
func VsockName(cid, port uint32) string {
	c := strconv.FormatUint(uint64(cid), 10)
	if cid == unix.VMADDR_CID_ANY {
		c = "any"
	}
	return "vsock " + c + ":" + strconv.FormatUint(uint64(port), 10)
}

// dial always answers through the handler, and may do so before it returns.
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
		// On a Unix socket EAGAIN is a full backlog, not a connection under way; unix(7).
		unix.Close(fd)
		h.DialFailed(wrap("connect", name, err))
		return
	}
	d.handler, d.name = h, name
	l.Attach(&d.Descriptor, fd, d)
	d.Want(Write) // also what a finished connection reports, in the next turn
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
			l.disown(fd) // it does not outlive a panic
		}
	}()
	d.handler.Connected(fd)
	taken = true
}
