package vhostvsock

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// frontend is the connection to QEMU. It assembles messages and the descriptors that come with
// them.
type frontend struct {
	fd int // non-blocking; owned by the source that polls it

	// Messages are read one at a time: first the header and then exactly the payload. Descriptors
	// arrive with the first byte of their message, and only that tells which message they belong
	// to.
	header  [messageHeaderSize]byte
	got     int // of the header, or of the payload if that is not nil
	message message
	payload []byte // nil while the header is read
	fds     []int  // received with the current message; owned until read returns them
	oob     [256]byte
}

// read returns the next message and its descriptors, which the caller must close. The payload is
// valid until the next call. It returns unix.EAGAIN while there is no whole message, and io.EOF
// when the front-end is gone. Any other error means that the stream is no longer readable.
func (f *frontend) read() (message, []int, error) {
	if f.payload == nil {
		if err := f.fill(f.header[:]); err != nil {
			return message{}, nil, err
		}
		m, size, err := parseMessageHeader(f.header)
		if err != nil {
			return message{}, nil, err
		}
		f.message, f.payload, f.got = m, make([]byte, size), 0
	}
	if err := f.fill(f.payload); err != nil {
		return message{}, nil, err
	}
	m, fds := f.message, f.fds
	m.payload = f.payload
	f.payload, f.fds, f.got = nil, nil, 0
	return m, fds, nil
}

// fill reads until b is full.
func (f *frontend) fill(b []byte) error {
	for f.got < len(b) {
		n, oobn, flags, _, err := unix.Recvmsg(f.fd, b[f.got:], f.oob[:], unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return unix.EAGAIN
		}
		if err == unix.ECONNRESET || err == nil && n == 0 {
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("receive vhost-user message: %w", err)
		}
		f.got += n
		if err := f.keepFDs(f.oob[:oobn]); err != nil {
			return err
		}
		if flags&unix.MSG_CTRUNC != 0 || len(f.fds) > maxMessageFDs {
			return errors.New("receive vhost-user message: too many descriptors")
		}
	}
	return nil
}

func (f *frontend) keepFDs(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("parse vhost-user descriptors: %w", err)
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			f.fds = append(f.fds, fds...)
		}
	}
	return nil
}

// reply answers m. A front-end that leaves a full socket buffer of replies unread is broken.
func (f *frontend) reply(m message, payload []byte) error {
	b := appendMessage(nil,
		message{request: m.request, flags: flagVersion | flagReply, payload: payload})
	if err := unix.Sendto(f.fd, b, unix.MSG_NOSIGNAL, nil); err != nil {
		if err == unix.EPIPE || err == unix.ECONNRESET {
			return io.EOF
		}
		return fmt.Errorf("reply to vhost-user message %d: %w", m.request, err)
	}
	return nil
}

// close closes the descriptors of an incomplete message. The socket belongs to its source.
func (f *frontend) close() {
	closeAll(f.fds)
	f.fds = nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
