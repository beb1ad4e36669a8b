package reactor

import "golang.org/x/sys/unix"

// Error is a failed system call: "connect vsock 2:1000: connection reset by peer".
type Error struct {
	Op     string // the system call
	Object string // what it was about; may be empty
	Errno  unix.Errno
}

func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Errno.Error()
	}
	return e.Op + " " + e.Object + ": " + e.Errno.Error()
}

// Unwrap gives the errno, so that errors.Is(err, unix.ENOENT) works.
func (e *Error) Unwrap() error { return e.Errno }

// wrap makes an *Error of a non-nil err, which is what package unix returned.
//
//go:noinline
func wrap(op, object string, err error) error {
	if err == nil {
		return nil
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		errno = unix.EINVAL // package unix refused the arguments itself
	}
	return &Error{op, object, errno}
}

// errNoBuffer means that a pool is smaller than what its owner allowed.
const errNoBuffer = unix.ENOBUFS

// verdict is what an error of a non-blocking call means for its descriptor.
type verdict uint8

const (
	fine      verdict = iota
	again             // interrupted, or the connection to accept is gone already: call again at once
	later             // would block: wait for the event
	exhausted         // the process or the system is out of something: try again in a while
	gone              // the far end went away
	broken            // anything else: the descriptor is of no more use
)

// judge is the one place that knows errnos.
func judge(err error) verdict {
	switch err {
	case nil:
		return fine
	case unix.EINTR, unix.ECONNABORTED:
		return again
	case unix.EAGAIN, unix.EINPROGRESS:
		return later
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		return exhausted
	case unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN, unix.ESHUTDOWN, unix.ETIMEDOUT:
		return gone
	}
	return broken
}
