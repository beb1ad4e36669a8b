package vhostvsock

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// window is buf_alloc: how many bytes of the guest a connection holds for a host program that
	// does not read.
	window = 64 << 10
	// creditStep is how many bytes are passed on before the guest is told, if no other packet tells
	// it. At that point a guest that sends at full speed assumes 4 KiB of credit.
	creditStep = window - 4<<10
	// patience limits how long a guest may take to answer a connect, and a connection to finish
	// closing.
	patience = 2 * time.Second
)

// state is the state of a connection.
type state uint8

const (
	// stateConnecting: a host program asked for a port in the guest. RESPONSE leads to established.
	// RST or the end of patience leads to gone, and closes the host program's stream.
	stateConnecting state = iota
	// stateEstablished: both sides have accepted. A guest's REQUEST leads here once a host program
	// has accepted. SHUTDOWN of both directions leads to gone with an RST, after all data has
	// reached the host program or patience has ended.
	stateEstablished
	// stateHostClosed: the host program shut down its writing side, or closed. The guest has all of
	// its data and a SHUTDOWN of both directions. RST, a SHUTDOWN from the guest or the end of
	// patience leads to gone.
	stateHostClosed
	// stateGone: the connection has ended, but may still be in a queue.
	stateGone
)

// Packets other than data that a connection has to send.
const (
	dueRequest = 1 << iota
	dueResponse
	dueCredit
)

type connKey struct{ hostPort, guestPort uint32 }

// conn is one connection: a stream to a host program on one side, credit and state towards the
// guest on the other. "Sent" always means sent to the guest, and "received" received from it.
type conn struct {
	key    connKey
	stream *source
	state  state
	due    uint8
	// readable says that the stream has data, or its end, that waits for a buffer in the rx ring.
	readable bool
	queued   bool // in muxer.ready
	touched  bool // in muxer.touched

	guestShut uint32 // the directions that the guest has closed: shutReceive, shutSend
	deadline  time.Time

	out []byte // received and not yet taken by the host program; at most window

	passed     uint32 // fwd_cnt: received bytes that the host program's stream took
	passedTold uint32 // the last fwd_cnt that the guest was told
	sent       uint32 // bytes sent to the guest
	peerWindow uint32 // the guest's buf_alloc
	peerPassed uint32 // the guest's fwd_cnt
	asked      bool   // the guest was asked for credit since it last had some
}

// interest returns the events that the stream is polled for.
func (c *conn) interest() uint32 {
	var events uint32
	if len(c.out) > 0 {
		events |= unix.EPOLLOUT
	}
	switch {
	case c.state != stateEstablished:
		// The guest does not receive yet, or any more.
	case c.guestShut&shutReceive != 0:
		// The guest would drop the data.
	case c.readable:
		// The data is known already, and waits for the rx ring.
	case c.credit() == 0:
		// The guest's program does not read. The next credit update resumes the connection.
	default:
		events |= unix.EPOLLIN
	}
	return events
}

// hasWork reports whether the connection has a packet for the rx ring.
func (c *conn) hasWork() bool {
	return c.state != stateGone && (c.due != 0 || c.mayRead())
}

func (c *conn) mayRead() bool {
	return c.readable && c.state == stateEstablished && c.guestShut&shutReceive == 0
}

// credit returns how many bytes the guest can take. Nonsensical figures from the guest only hurt
// the guest.
func (c *conn) credit() uint32 {
	underway := c.sent - c.peerPassed
	if underway >= c.peerWindow {
		return 0
	}
	return c.peerWindow - underway
}

// creditFrom stores the credit figures that every packet of the guest carries.
func (c *conn) creditFrom(h *header) {
	c.peerWindow, c.peerPassed = h.bufAlloc, h.fwdCnt
	if c.credit() > 0 {
		c.asked = false
	}
}

// header fills in a header to the guest with our own credit figures.
func (c *conn) header(h *header, cid uint64, o op) {
	*h = header{
		srcCID: hostCID, dstCID: cid, srcPort: c.key.hostPort, dstPort: c.key.guestPort,
		typ: typeStream, op: o, bufAlloc: window, fwdCnt: c.passed,
	}
	c.passedTold = c.passed
	c.due &^= dueCredit
}

// fill makes the next packet for the guest. It reads data straight from the stream to payload,
// which has room for at least one byte. It reports false if there is no packet after all. An error
// comes from the stream and is final.
func (c *conn) fill(h *header, cid uint64, payload [][]byte) (bool, error) {
	if c.due&dueRequest != 0 {
		c.due &^= dueRequest
		c.header(h, cid, opRequest)
		return true, nil
	}
	if c.due&dueResponse != 0 {
		c.due &^= dueResponse
		c.header(h, cid, opResponse)
		return true, nil
	}
	if c.mayRead() {
		if ok, err := c.fillData(h, cid, payload); ok || err != nil {
			return ok, err
		}
	}
	if c.due&dueCredit != 0 {
		c.header(h, cid, opCreditUpdate)
		return true, nil
	}
	return false, nil
}

func (c *conn) fillData(h *header, cid uint64, payload [][]byte) (bool, error) {
	credit := c.credit()
	if credit == 0 {
		c.readable = false
		if c.asked {
			return false, nil
		}
		c.asked = true
		c.header(h, cid, opCreditRequest)
		return true, nil
	}
	room := min(totalLen(payload), uint64(credit), maxPayload)
	if room < totalLen(payload) {
		payload, _ = split(payload, int(room))
	}
	n, err := readv(c.stream.fd, payload)
	switch {
	case err == unix.EAGAIN:
		c.readable = false
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		// The end of the stream ends the connection in both directions: see the package comment.
		c.state = stateHostClosed
		c.readable = false
		c.header(h, cid, opShutdown)
		h.flags = shutBoth
		return true, nil
	}
	c.sent += uint32(n)
	// A short read emptied the stream. If more arrives, epoll reports it again.
	c.readable = uint64(n) == room
	c.header(h, cid, opData)
	h.len = uint32(n)
	return true, nil
}

// deliver passes the guest's data on, and keeps bytes that the host program does not take yet. It
// reports false if the guest sent more than its credit.
func (c *conn) deliver(data [][]byte) (bool, error) {
	n := int(totalLen(data))
	written := 0
	if len(c.out) == 0 {
		var err error
		if written, err = writev(c.stream.fd, data); err != nil && err != unix.EAGAIN {
			return true, err
		}
		c.passed += uint32(written)
	}
	if len(c.out)+n-written > window {
		return false, nil
	}
	if written < n {
		_, rest := split(data, written)
		for _, p := range rest {
			c.out = append(c.out, p...)
		}
	}
	c.creditDue()
	return true, nil
}

// flush passes on the kept bytes.
func (c *conn) flush() error {
	n, err := writev(c.stream.fd, [][]byte{c.out})
	if err != nil && err != unix.EAGAIN {
		return err
	}
	c.passed += uint32(n)
	if n == len(c.out) {
		c.out = nil // most connections never need it again
	} else {
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	c.creditDue()
	return nil
}

func (c *conn) creditDue() {
	if c.state == stateEstablished && c.guestShut&shutSend == 0 &&
		c.passed-c.passedTold >= creditStep {
		c.due |= dueCredit
	}
}

// maxPieces is the kernel's limit on pieces in one call (UIO_MAXIOV).
const maxPieces = 1024

// readv reads into pieces. It reads fewer bytes than fit if there are more than maxPieces.
func readv(fd int, pieces [][]byte) (int, error) {
	for {
		n, err := unix.Readv(fd, pieces[:min(len(pieces), maxPieces)])
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// writev writes until all is written or the stream is full (unix.EAGAIN). It returns the number of
// bytes written.
func writev(fd int, pieces [][]byte) (int, error) {
	written, want := 0, int(totalLen(pieces))
	for written < want {
		n, err := unix.SendmsgBuffers(fd, pieces[:min(len(pieces), maxPieces)], nil, nil,
			unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		if written += n; written < want {
			// After a short write split a copy, because the caller still needs the pieces whole.
			_, pieces = split(append([][]byte(nil), pieces...), n)
		}
	}
	return written, nil
}
