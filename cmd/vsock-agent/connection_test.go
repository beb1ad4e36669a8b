package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// connection is a connection of the case to the agent.
type connection struct {
	*net.UnixConn
	r       *bufio.Reader
	holding bool
	held    []byte
	rest    []byte
	flooded int
	closed  map[string]string // by seq, the outputs that the agent has closed
}

func (r *run) dial(name string) (*connection, error) {
	var conn net.Conn
	err := r.poll(func() (err error) {
		if r.agentGone() {
			return errExited
		}
		conn, err = net.Dial("unix", r.vars["SOCK"])
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &connection{UnixConn: conn.(*net.UnixConn), r: bufio.NewReaderSize(conn, 64<<10)}
	r.conns[name] = c
	return c, nil
}

// connection returns the named connection. If the case has not opened it, connection opens it and
// reads its ready.
func (r *run) connection(name string) (*connection, error) {
	if c := r.conns[name]; c != nil {
		return c, nil
	}
	c, err := r.dial(name)
	if err != nil {
		return nil, err
	}
	got, err := r.receive(c)
	if err != nil {
		return nil, fmt.Errorf("waiting for the first ready: %w", err)
	}
	if got.String() != "ready seq=0" {
		return nil, fmt.Errorf("want ready seq=0\n got %s", got)
	}
	return c, nil
}

// hostSocket is the host's own socket at a path, bound and perhaps listening. It is made with
// system calls, because net.Listen cannot stop between bind and listen.
type hostSocket struct {
	fd   int
	path string
}

// hostStep runs a step of this form:
//
//	host bind|listen|unlink [PATH] | close | rename PATH | pause TIME
func (r *run) hostStep(rest string) error {
	word, path, _ := strings.Cut(rest, " ")
	if path == "" {
		path = r.vars["SOCK"]
	}
	switch word {
	case "bind", "listen":
		if r.host == nil || word == "bind" {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				unix.Close(fd)
				return fmt.Errorf("bind %s: %w", path, err)
			}
			r.host = &hostSocket{fd, path}
		}
		if word == "listen" {
			return unix.Listen(r.host.fd, 16)
		}
		return nil
	case "close":
		fd := r.host.fd
		r.host = nil
		// Shut down first, as for a connection, so that no copy of it listens on.
		unix.Shutdown(fd, unix.SHUT_RDWR)
		return unix.Close(fd)
	case "unlink":
		return os.Remove(path)
	case "rename":
		// Do not use a shell's mv. On a slow machine it takes so long that the agent finds nothing
		// there, and listens.
		return os.Rename(r.vars["SOCK"], path)
	case "pause":
		// This is the only fixed wait of the language. Some cases need it between bind and listen.
		d, err := time.ParseDuration(path)
		time.Sleep(d)
		return err
	}
	return fmt.Errorf("host has no %q", word)
}

// accept accepts the next connection that the agent makes to the host's socket.
func (r *run) accept(name string) error {
	timeout := unix.NsecToTimeval(int64(r.c.deadline))
	if err := unix.SetsockoptTimeval(r.host.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	var fd int
	for {
		var err error
		if fd, _, err = unix.Accept4(r.host.fd, unix.SOCK_CLOEXEC); err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("no connection from the agent: %w", err)
		}
		break
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	r.conns[name] = &connection{UnixConn: conn.(*net.UnixConn), r: bufio.NewReaderSize(conn, 64<<10)}
	return nil
}

func (r *run) receive(c *connection) (*received, error) {
	c.SetReadDeadline(time.Now().Add(r.c.deadline))
	f, err := wiretest.ReadFrame(c.r)
	if err != nil {
		return nil, err
	}
	got, err := decodeFrame(f)
	if err != nil {
		return nil, err
	}
	return got, c.follow(got)
}

// unreadFrames lists the frames that came and were not expected. They often explain a failure
// elsewhere.
func (r *run) unreadFrames() string {
	var text string
	for name, c := range r.conns {
		for range 5 {
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.r.Peek(9); err != nil {
				break
			}
			got, err := r.receive(c)
			if err != nil {
				break
			}
			text += fmt.Sprintf("\n unread: %s< %s", name, got)
		}
	}
	return text
}

func (r *run) write(c *connection, b []byte) error {
	if c.holding {
		c.held = append(c.held, b...)
		return nil
	}
	c.SetWriteDeadline(time.Now().Add(r.c.deadline))
	_, err := c.Write(b)
	return err
}

// unread returns the number of bytes written to c that the agent has not read yet. The kernel
// counts more than the bytes, so only 0 is exact.
func (c *connection) unread() (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil {
		return 0, cerr
	}
	return n, err
}

func (r *run) consumed(c *connection) error {
	return r.poll(func() error {
		n, err := c.unread()
		if err == nil && n > 0 {
			err = errors.New("the agent does not read what was sent")
		}
		return err
	})
}
