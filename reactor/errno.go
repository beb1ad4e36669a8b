package reactor

import "golang.org/x/sys/unix"

// Error is a system call that failed: "connect vsock 2:1000: connection reset by peer".
type Error struct {
	Op     string // the system call
	Object string // its argument; may be empty
	Errno  unix.Errno
}

func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Errno.Error()
	}
	return e.Op + " " + e.Object + ": " + e.Errno.Error()
}

// Unwrap returns the errno, so that errors.Is(err, unix.ENOENT) works.
func (e *Error) Unwrap() error { return e.Errno }

// wrap returns err, which package unix returned, as an *Error, and nil if it is nil.
//
//go:noinline
func wrap(op, object string, err error) error {
	if err == nil {
		return nil
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		errno = unix.EINVAL // package unix rejected the arguments itself
	}
	return &Error{op, object, errno}
}

// errNoBuffer means that the pool is smaller than its owner's limits require.
const errNoBuffer = unix.ENOBUFS

// verdict says what an error of a non-blocking call means for its descriptor.
type verdict uint8

const (
	fine        verdict = iota
	interrupted         // or the connection to accept is gone already: call again at once
	wouldBlock          // it would block: wait for the event
	exhausted           // the process or the system lacks a resource: retry after a pause
	gone                // the far end went away
	broken              // any other error: the descriptor cannot be used any more
)

// judge is the only function that knows errnos.
func judge(err error) verdict {
	switch err {
	case nil:
		return fine
	case unix.EINTR, unix.ECONNABORTED:
		return interrupted
	case unix.EAGAIN, unix.EINPROGRESS:
		return wouldBlock
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		return exhausted
	case unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN, unix.ESHUTDOWN, unix.ETIMEDOUT:
		return gone
	}
	return broken
}
