package client

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
)

// okPrefix begins Firecracker's answer to a CONNECT. A decimal number, its own port, and a newline
// follow.
const okPrefix = "OK "

// maxOK is the longest such answer in bytes: a number of 32 bits.
const maxOK = len(okPrefix) + len("4294967295") + len("\n")

// handshake asks the Firecracker behind conn for the guest's port. It reads no byte beyond the
// answer, because the guest's frames may follow at once. Its error is a *HandshakeError, or ctx's.
func handshake(ctx context.Context, conn net.Conn, uds string, port uint32) error {
	done := interruptible(ctx, conn.SetDeadline)
	defer done()
	fail := func(reply string, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &HandshakeError{UDS: uds, Port: port, Reply: reply, Err: err}
	}
	_, err := io.WriteString(conn, "CONNECT "+strconv.FormatUint(uint64(port), 10)+"\n")
	if err != nil {
		return fail("", err)
	}
	reply := make([]byte, 0, maxOK)
	for len(reply) < maxOK {
		// The answer has a dozen bytes, once per connection, and nothing beyond it may be read.
		n, err := conn.Read(reply[len(reply) : len(reply)+1])
		if n == 0 && err != nil {
			// Closed because nothing listens, or within a good answer: either may succeed next
			// time.
			return fail("", err)
		}
		reply = reply[:len(reply)+n]
		switch ok, complete := parseOK(reply); {
		case !ok:
			return fail(string(reply), nil)
		case complete:
			return nil
		}
	}
	return fail(string(reply), nil)
}

// parseOK reports whether b begins an answer of "OK <n>
//
// ", and whether it is complete.
func parseOK(b []byte) (ok, complete bool) {
	n := min(len(b), len(okPrefix))
	if string(b[:n]) != okPrefix[:n] {
		return false, false
	}
	digits, complete := bytes.CutSuffix(b[n:], []byte("\n"))
	if len(bytes.Trim(digits, "0123456789")) > 0 || complete && len(digits) == 0 {
		return false, false
	}
	return true, complete
}
