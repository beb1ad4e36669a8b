package client

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"wick/framing"
)

// ErrClosed is the error of every call on a client, or a listener, that was closed by this side.
var ErrClosed = errors.New("closed by this side")

// A RemoteError is an error frame: the guest could not parse the request, does not know it, or refuses it.
type RemoteError struct {
	// Seq is the number of the request that the guest answers, or 0 if it speaks of the connection as a whole.
	Seq uint32
	// Message is the guest's text, at most 65535 bytes.
	Message string
}

// Error quotes the guest.
func (e *RemoteError) Error() string { return "guest says: " + e.Message }

// A BootError is what a guest sends in place of ready: the machine could not boot, and is on its way down.
type BootError struct {
	// Message is the guest's reason.
	Message string
}

// Error reads "machine could not boot: " and the guest's reason.
func (e *BootError) Error() string { return "machine could not boot: " + e.Message }

// A WriteFileError is a file that the guest was asked to write and could not. It left the old file as it was.
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

// A ContentError is content that ended, failed or was given up before its announced size.
type ContentError struct {
	// Path is the path in the guest.
	Path string
	// Size is what was announced and Read what came, in bytes.
	Size, Read int64
	// Err is the reader's error, [io.ErrUnexpectedEOF] if it merely ended, or the context's.
	Err error
	// Closed says that a part of the frame was on the wire already. A frame cannot be taken back, so the
	// connection was closed; the guest then leaves the old file as it was. Only if Read is Size it may have the
	// new one: ctx ended while the last piece was on its way.
	Closed bool
}

// Error says how far the content came and what became of the connection.
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

// A ProtocolError is something that no guest may send. The connection was closed, since nothing behind it can be trusted.
type ProtocolError struct {
	// Err says what it was: a *framing.LengthError, a *framing.PayloadError, or a text.
	Err error
}

// Error reads "guest breaks the protocol: " and what it sent.
func (e *ProtocolError) Error() string { return "guest breaks the protocol: " + e.Err.Error() }

// Unwrap returns Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// protocolErrorf makes a ProtocolError of a text.
func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Err: fmt.Errorf(format, args...)}
}

// An AddrError is an address that cannot be used as it is written.
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
	// Reply is what was read in place of OK, and empty if the connection was closed: Firecracker does that
	// when nothing listens at the port, be it that the guest has not come so far.
	Reply string
	// Err is the read's or the write's error; nil if Reply is set.
	Err error
}

// Refused reports whether the handshake was answered by closing the connection, as it is until the guest listens.
func (e *HandshakeError) Refused() bool { return e.Reply == "" }

// Error tells a guest that does not listen from a socket that is not Firecracker's.
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
	// Err is the reason that ended the trying, often the context's.
	Err error
	// Last is why the last attempt failed, if it is another error than Err. Both are unwrapped.
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

// An OpError is an operation of the extension that the guest could not do. Files have an [*fs.PathError] instead.
type OpError struct {
	// Op is what was asked: "signal", "freeze", "power off".
	Op string
	// Errno is Linux's number, which errors.Is compares with.
	Errno syscall.Errno
	// Reason is the guest's text, and may be empty.
	Reason string
}

// Error reads "OP: " and the guest's reason.
func (e *OpError) Error() string {
	if e.Reason == "" {
		return e.Op + ": " + e.Errno.Error()
	}
	return e.Op + ": " + e.Reason
}

// Unwrap returns Errno.
func (e *OpError) Unwrap() error { return e.Errno }

// opError is the error of a done, nil for success.
func opError(op string, d *framing.Done) error {
	if d.Errno == 0 {
		return nil
	}
	return &OpError{op, syscall.Errno(d.Errno), string(d.Reason)}
}
