package vhostvsock

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// window is buf_alloc: how much of the guest's data a connection holds for a host program that does not read.
	window = 64 << 10
	// creditStep is how much of it must have been passed on since the guest last heard before it is told so, when
	// nothing else is said to it. At that point a guest that sends all it may believes to have 4 KiB left.
	creditStep = window - 4<<10
	// patience is for a guest to answer a connect, and for a connection to finish closing.
	patience = 2 * time.Second
)

// state of a connection, by what brought it there.
type state uint8

const (
	// stateConnecting: a host program asked for a port in the guest. On RESPONSE: established. On RST, or after
	// patience: gone, and the host program's stream with it.
	stateConnecting state = iota
	// stateEstablished: also what a guest's REQUEST leads to as soon as a host program accepted. On SHUTDOWN of both
	// directions: gone with an RST, once all data is with the host program, or after patience.
	stateEstablished
	// stateHostClosed: the host program shut down its writing side, or closed; the guest has all of its data and a
	// SHUTDOWN of both directions. On RST, a SHUTDOWN from the guest, or after patience: gone.
	stateHostClosed
	// stateGone: no connection any more; it may still lie in a queue.
	stateGone
)

// Packets that a connection has to send, apart from data.
const (
	dueRequest = 1 << iota
	dueResponse
	dueCredit
)

type connKey struct{ hostPort, guestPort uint32 }

// conn is one connection: a stream to a host program on one side, credit and state towards the guest on the other.
// "Sent" and "received" are always seen from here: sent to the guest, received from it.
type conn struct {
	key    connKey
	stream *source
	state  state
	due    uint8
	// readable: the stream has data, or its end, which waits for a buffer in the rx ring.
	readable bool
	queued   bool // in muxer.ready
	touched  bool // in muxer.touched

	guestShut uint32 // what the guest will not do any more: shutReceive, shutSend
	deadline  time.Time

	out []byte // received and not yet taken by the host program; at most window

	passed     uint32 // fwd_cnt: received bytes that the host program's stream took
	passedTold uint32 // what the guest was last told of it
	sent       uint32 // bytes sent to the guest
	peerWindow uint32 // the guest's buf_alloc
	peerPassed uint32 // the guest's fwd_cnt
	asked      bool   // the guest was asked for credit since it last had some
}

// interest is what the stream is polled for.
func (c *conn) interest() uint32 {
	var events uint32
	if len(c.out) > 0 {
		events |= unix.EPOLLOUT
	}
	switch {
	case c.state != stateEstablished:
		// Nobody to read for, yet or any more.
	case c.guestShut&shutReceive != 0:
		// What would be read could go nowhere.
	case c.readable:
		// Known already. The rx ring sets the pace now.
	case c.credit() == 0:
		// The guest's program does not read. Its next credit update brings this connection back.
	default:
		events |= unix.EPOLLIN
	}
	return events
}

// hasWork says whether the connection has something for the rx ring.
func (c *conn) hasWork() bool {
	return c.state != stateGone && (c.due != 0 || c.mayRead())
}

func (c *conn) mayRead() bool {
	return c.readable && c.state == stateEstablished && c.guestShut&shutReceive == 0
}

// credit is how many bytes the guest can take. The guest's figures may be nonsense, at its own cost.
func (c *conn) credit() uint32 {
	underway := c.sent - c.peerPassed
	if underway >= c.peerWindow {
		return 0
	}
	return c.peerWindow - underway
}

// creditFrom takes the figures that every packet of the guest carries.
func (c *conn) creditFrom(h *header) {
	c.peerWindow, c.peerPassed = h.bufAlloc, h.fwdCnt
	if c.credit() > 0 {
		c.asked = false
	}
}

// header is one to the guest, with our own figures.
func (c *conn) header(h *header, cid uint64, o op) {
	*h = header{
		srcCID: hostCID, dstCID: cid, srcPort: c.key.hostPort, dstPort: c.key.guestPort,
		typ: typeStream, op: o, bufAlloc: window, fwdCnt: c.passed,
	}
	c.passedTold = c.passed
	c.due &^= dueCredit
}

// fill makes the next packet for the guest, with data straight from the stream to payload, which has room for at least
// one byte. It reports false if there is nothing to say after all. An error is the stream's, and final.
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
		// The end of the stream is the end of the connection, both ways: see the package's comment.
		c.state = stateHostClosed
		c.readable = false
		c.header(h, cid, opShutdown)
		h.flags = shutBoth
		return true, nil
	}
	c.sent += uint32(n)
	// A short read emptied the stream. If it did not, epoll says so again.
	c.readable = uint64(n) == room
	c.header(h, cid, opData)
	h.len = uint32(n)
	return true, nil
}

// deliver passes the guest's data on and keeps what the host program does not take now. It reports false if the guest
// sent more than its credit.
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

// flush passes on what was kept.
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
	if c.state == stateEstablished && c.guestShut&shutSend == 0 && c.passed-c.passedTold >= creditStep {
		c.due |= dueCredit
	}
}

// maxPieces is the kernel's limit (UIO_MAXIOV) of pieces in one call.
const maxPieces = 1024

// readv reads into pieces, fewer bytes than fit if there are too many of them.
func readv(fd int, pieces [][]byte) (int, error) {
	for {
		n, err := unix.Readv(fd, pieces[:min(len(pieces), maxPieces)])
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// writev writes until all is written or the stream takes no more (unix.EAGAIN), and returns how much it took.
func writev(fd int, pieces [][]byte) (int, error) {
	written, want := 0, int(totalLen(pieces))
	for written < want {
		n, err := unix.SendmsgBuffers(fd, pieces[:min(len(pieces), maxPieces)], nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		if written += n; written < want {
			// A short write; the pieces are still needed whole by the caller.
			_, pieces = split(append([][]byte(nil), pieces...), n)
		}
	}
	return written, nil
}
