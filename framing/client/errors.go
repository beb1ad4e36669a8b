package client

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"wick/framing"
)

// ErrClosed is the error of every call on a client or listener that this side has closed.
var ErrClosed = errors.New("closed by this side")

// A RemoteError is an error frame: the guest could not parse the request, does not know it, or
// refuses it.
type RemoteError struct {
	// Seq is the seq of the refused request, or 0 if the error is about the connection.
	Seq uint32
	// Message is the guest's text, at most 65535 bytes.
	Message string
}

// Error quotes the guest.
func (e *RemoteError) Error() string { return "guest says: " + e.Message }

// A BootError is sent by a guest instead of ready. The machine could not boot and is shutting down.
type BootError struct {
	// Message is the guest's reason.
	Message string
}

// Error reads "machine could not boot: " and the guest's reason.
func (e *BootError) Error() string { return "machine could not boot: " + e.Message }

// A WriteFileError is a file that the guest could not write. The old file is unchanged.
type WriteFileError struct {
	// Path is the path in the guest.
	Path string
	// Reason is the guest's text, and may be empty.
	Reason string
}

// Error reads "write_file PATH: REASON".
func (e *WriteFileError) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = "the guest gives no reason"
	}
	return "write_file " + e.Path + ": " + reason
}

// A ContentError is content that ended, failed or was abandoned before its announced size.
type ContentError struct {
	// Path is the path in the guest.
	Path string
	// Size is what was announced and Read what was read, in bytes.
	Size, Read int64
	// Err is the reader's error, [io.ErrUnexpectedEOF] if it ended early, or the context's.
	Err error
	// Closed says that the connection was closed, because a part of the frame was on the wire and
	// cannot be taken back. The guest leaves the old file unchanged. Only if Read equals Size may
	// it have the new one: then ctx ended while the last piece was being sent.
	Closed bool
}

// Error says how much was read and whether the connection was closed.
func (e *ContentError) Error() string {
	s := fmt.Sprintf("write_file %s: content broke off after %d of %d bytes: %v", e.Path, e.Read, e.Size, e.Err)
	if e.Closed {
		s += " (connection closed, for the frame had begun)"
	}
	return s
}

// Unwrap returns Err.
func (e *ContentError) Unwrap() error { return e.Err }

// A RequestError is a request that cannot be put in a frame. Nothing was sent.
type RequestError struct {
	// Op is the message's name: "exec", "spawn_watch" or "write_file".
	Op string
	// Reason is lower case, and names the limit.
	Reason string
}

// Error reads "OP: REASON".
func (e *RequestError) Error() string { return e.Op + ": " + e.Reason }

// A ConnError is a connection that ended other than by [Client.Close].
type ConnError struct {
	// Err is the cause; see the package's text.
	Err error
}

// Error reads "connection lost: " and the cause.
func (e *ConnError) Error() string {
	if e.Err == io.EOF {
		return "connection lost: the guest closed it"
	}
	return "connection lost: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *ConnError) Unwrap() error { return e.Err }

// A ProtocolError is something that a guest must not send. The connection was closed, because
// nothing after it can be trusted.
type ProtocolError struct {
	// Err is a *framing.LengthError, a *framing.PayloadError, or a text.
	Err error
}

// Error reads "guest broke the protocol: " and what it sent.
func (e *ProtocolError) Error() string { return "guest broke the protocol: " + e.Err.Error() }

// Unwrap returns Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// protocolErrorf returns a ProtocolError with a text.
func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Err: fmt.Errorf(format, args...)}
}

// An AddrError is a malformed address.
type AddrError struct {
	// Addr is the address as it was given.
	Addr string
	// Reason is lower case.
	Reason string
}

// Error reads `address "ADDR": REASON`.
func (e *AddrError) Error() string { return fmt.Sprintf("address %q: %s", e.Addr, e.Reason) }

// A HandshakeError is a Firecracker socket that did not answer CONNECT with OK.
type HandshakeError struct {
	// UDS is Firecracker's socket and Port the guest's port.
	UDS  string
	Port uint32
	// Reply is what was read instead of OK. It is empty if the connection was closed: Firecracker
	// does that while nothing listens at the port, as before the guest has booted.
	Reply string
	// Err is the error of the read or write; nil if Reply is set.
	Err error
}

// Refused reports whether the connection was closed during the handshake, as happens until the
// guest listens.
func (e *HandshakeError) Refused() bool { return e.Reply == "" }

// Error distinguishes a guest that does not listen from a socket that is not Firecracker's.
func (e *HandshakeError) Error() string {
	if e.Refused() {
		reason := "connection closed"
		if e.Err != io.EOF {
			reason = e.Err.Error()
		}
		return fmt.Sprintf("firecracker handshake: nothing in the guest listens at port %d (%s)", e.Port, reason)
	}
	return fmt.Sprintf("firecracker handshake: %s answers %q, which is not Firecracker", e.UDS, e.Reply)
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// A DialError is a guest that could not be reached.
type DialError struct {
	// Op is "dial", "listen" or "accept", and Addr the address as it was given.
	Op, Addr string
	// Err is the error that ended the attempts, often the context's.
	Err error
	// Last is the error of the last attempt if it differs from Err. Unwrap returns both.
	Last error
}

// Error reads "OP ADDR: ERR (LAST)".
func (e *DialError) Error() string {
	s := e.Op + " " + e.Addr + ": " + e.Err.Error()
	if e.Last != nil {
		s += " (last attempt: " + e.Last.Error() + ")"
	}
	return s
}

// Unwrap returns Err and Last.
func (e *DialError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Last}
}

// An OpError is an operation of the extension that the guest could not do. Operations on files have
// an [*fs.PathError] instead.
type OpError struct {
	// Op is the operation: "signal", "freeze", "power off".
	Op string
	// Errno is this system's number of the error, which errors.Is finds.
	Errno syscall.Errno
	// Reason is the guest's text, and may be empty.
	Reason string
}

// Error reads "OP: " and the guest's reason, or the reason alone if it begins with the operation.
func (e *OpError) Error() string {
	switch {
	case e.Reason == "":
		return e.Op + ": " + e.Errno.Error()
	case strings.HasPrefix(e.Reason, e.Op+" "), strings.HasPrefix(e.Reason, e.Op+": "):
		return e.Reason
	}
	return e.Op + ": " + e.Reason
}

// Unwrap returns Errno.
func (e *OpError) Unwrap() error { return e.Errno }

// opError returns the error of a done, nil for success.
func opError(op string, d *framing.Done) error {
	if d.Errno == 0 {
		return nil
	}
	return &OpError{op, guestErrno(d.Errno), string(d.Reason)}
}
