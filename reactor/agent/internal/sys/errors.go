package sys

import "golang.org/x/sys/unix"

// Error is a failed operation: "open /etc/passwd: no such file or directory".
type Error struct {
	Op     string // the system call or operation
	Object string // its argument; may be empty
	Errno  unix.Errno
}

// Error returns the operation, the object and the kernel's text for the errno.
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Errno.Error()
	}
	return e.Op + " " + e.Object + ": " + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// WordedError is an errno with a text of its own, where the name of a system call would not tell
// the reason.
type WordedError struct {
	Errno unix.Errno
	Words string
}

// Error returns the text.
func (f *WordedError) Error() string { return f.Words }

// Unwrap returns the errno.
func (f *WordedError) Unwrap() error { return f.Errno }

// NewError returns an *Error. An err that is not a unix.Errno becomes errno 0.
func NewError(op, object string, err error) error {
	errno, _ := err.(unix.Errno)
	return &Error{Op: op, Object: object, Errno: errno}
}

// Wrap returns nil if err is nil, and the result of NewError otherwise.
func Wrap(op, object string, err error) error {
	if err == nil {
		return nil
	}
	return NewError(op, object, err)
}

// ErrnoOf returns the errno that an error is or wraps, and 0 if it has no errno.
func ErrnoOf(err error) unix.Errno {
	for {
		switch e := err.(type) {
		case unix.Errno:
			return e
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return 0
		}
	}
}

// IsErrno reports whether an error is that errno, or wraps it.
func IsErrno(err error, errno unix.Errno) bool { return ErrnoOf(err) == errno }

// Exhausted reports whether an error says that the process, the user or the machine has no
// processes, memory or descriptors left.
func Exhausted(err error) bool {
	switch ErrnoOf(err) {
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		return true
	}
	return false
}
