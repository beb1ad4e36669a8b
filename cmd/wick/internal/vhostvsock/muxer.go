package vhostvsock

import (
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxConns = 1023
	// maxResets limits the RSTs held while the rx ring is full. At the limit no more packets are
	// read from the tx ring. This limits the "additional resources outside the virtqueue" of virtio
	// 1.2, 5.10.6.1.
	maxResets = 1024
	// maxReady limits the connections queued for the rx ring, in the same way. It is the number of
	// possible connections, and as many that have gone meanwhile.
	maxReady = 2 * maxConns

	firstHostPort = 1 << 30
	endHostPort   = 1 << 31
)

// muxer holds the connections and finds the one that a packet is for. Packets from the guest enter
// through receive. Packets to the guest leave through fill, when the rx ring has room.
type muxer struct {
	cid  uint64
	uds  string
	poll *poller
	log  *slog.Logger
	now  func() time.Time

	conns    map[connKey]*conn
	lastPort uint32

	resets  fifo[header] // RSTs without a connection
	ready   fifo[*conn]  // connections that have work, in turn
	touched []*conn      // connections whose interest may have changed
	timers  fifo[timer]  // all last for patience, so they are in order
	retries fifo[timer]  // likewise, for acceptRetry

	told bool // that there are too many connections

	listen *listener // nil while the device does not run
}

type timer struct {
	at     time.Time
	expire func()
}

func newMuxer(cid uint64, uds string, p *poller, log *slog.Logger) *muxer {
	return &muxer{
		cid: cid, uds: uds, poll: p, log: log, now: time.Now,
		conns:    map[connKey]*conn{},
		lastPort: firstHostPort - 1,
	}
}

// receive handles a packet from the guest. The payload is the guest's memory and is not kept. whole
// is false if the packet was cut off or too long, so that its data cannot be passed on.
func (m *muxer) receive(h *header, payload [][]byte, whole bool) {
	if h.dstCID != hostCID || h.srcCID != m.cid {
		m.log.Debug("packet for another machine dropped", "src", h.srcCID, "dst", h.dstCID)
		return
	}
	if h.typ != typeStream {
		m.answerReset(h)
		return
	}
	c := m.conns[connKey{hostPort: h.dstPort, guestPort: h.srcPort}]
	switch {
	case c == nil && h.op == opRequest:
		m.connectHost(h)
	case c == nil:
		m.answerReset(h)
	case h.op == opReset:
		m.drop(c)
	case !whole:
		m.kill(c, "malformed packet")
	default:
		c.creditFrom(h)
		m.handle(c, h, payload)
		m.touch(c)
	}
}

// handle applies a packet to its connection.
func (m *muxer) handle(c *conn, h *header, payload [][]byte) {
	switch h.op {
	case opData:
		m.handleData(c, payload)
	case opShutdown:
		m.handleShutdown(c, h.flags)
	case opCreditRequest:
		c.due |= dueCredit
	case opCreditUpdate:
		// The packet carries only the figures.
	case opResponse:
		if c.state == stateConnecting {
			m.established(c)
		}
	case opRequest:
		m.kill(c, "request on a connection that exists")
	default:
		m.log.Debug("packet of unknown operation dropped", "op", h.op)
	}
}

func (m *muxer) handleData(c *conn, payload [][]byte) {
	switch {
	case c.state == stateConnecting:
		m.kill(c, "data before the connection was accepted")
	case c.state != stateEstablished, c.guestShut&shutSend != 0:
		// The data is lost, as documented, because no program is there to read it.
	default:
		if ok, err := c.deliver(payload); err != nil {
			m.kill(c, err.Error())
		} else if !ok {
			m.kill(c, "guest exceeds its credit")
		}
	}
}

func (m *muxer) handleShutdown(c *conn, flags uint32) {
	if c.state == stateConnecting {
		return
	}
	before := c.guestShut
	c.guestShut |= flags & shutBoth
	switch {
	case c.guestShut != shutBoth:
	case len(c.out) == 0 || c.state == stateHostClosed:
		m.kill(c, "")
	case before != shutBoth:
		m.setDeadline(c)
	}
}

// established tells the host program that its CONNECT succeeded.
func (m *muxer) established(c *conn) {
	c.state = stateEstablished
	c.deadline = time.Time{}
	line := okLine(c.key.hostPort)
	// The stream's buffer is empty, so it takes the line whole or not at all. The line is not data
	// of the guest and uses no credit.
	n, err := unix.SendmsgN(c.stream.fd, line, nil, nil, unix.MSG_NOSIGNAL)
	if err != nil || n != len(line) {
		m.kill(c, "host program is gone")
	}
}

// connectHost answers a guest's REQUEST.
func (m *muxer) connectHost(h *header) {
	if m.full() {
		if !m.told {
			m.told = true // once, because the guest may ask as often as it likes
			m.log.Warn("guest's connect refused: too many connections", "port", h.dstPort)
		}
		m.answerReset(h)
		return
	}
	fd, err := dialUnix(hostPath(m.uds, h.dstPort))
	if err != nil {
		m.log.Debug("guest's connect refused", "port", h.dstPort, "err", err)
		m.answerReset(h)
		return
	}
	c := m.add(connKey{hostPort: h.dstPort, guestPort: h.srcPort}, fd, stateEstablished,
		dueResponse)
	c.creditFrom(h)
}

// connectGuest starts a connection of a host program to a port in the guest. It takes ownership of
// fd, the program's stream.
func (m *muxer) connectGuest(fd int, port uint32) {
	key := connKey{guestPort: port}
	for {
		if m.lastPort++; m.lastPort >= endHostPort {
			m.lastPort = firstHostPort
		}
		key.hostPort = m.lastPort
		if m.conns[key] == nil {
			break
		}
	}
	m.setDeadline(m.add(key, fd, stateConnecting, dueRequest))
}

// add makes a connection that has a packet due. It takes ownership of fd.
func (m *muxer) add(key connKey, fd int, s state, due uint8) *conn {
	c := &conn{key: key, state: s, due: due}
	c.stream = m.poll.add(fd, func(events uint32) { m.streamReady(c, events) })
	m.conns[key] = c
	m.touch(c)
	return c
}

// streamReady is called when c's stream is readable, is writable or has failed. Reading or writing
// it shows a failure.
func (m *muxer) streamReady(c *conn, events uint32) {
	if c.interest()&unix.EPOLLIN != 0 && events&^unix.EPOLLOUT != 0 {
		c.readable = true
	}
	if len(c.out) > 0 && events&^unix.EPOLLIN != 0 {
		if err := c.flush(); err != nil {
			m.kill(c, err.Error())
			return
		}
		if len(c.out) == 0 && c.guestShut == shutBoth {
			m.kill(c, "")
			return
		}
	}
	m.touch(c)
}

// full reports whether the connections, with the host programs about to ask for one, are at their
// limit.
func (m *muxer) full() bool {
	n := len(m.conns)
	if m.listen != nil {
		n += len(m.listen.greetings)
	}
	return n >= maxConns
}

// pending reports whether fill probably has a packet.
func (m *muxer) pending() bool { return m.resets.len() > 0 || m.ready.len() > 0 }

// congested reports whether the guest must take packets before it may send more.
func (m *muxer) congested() bool { return m.resets.len() >= maxResets || m.ready.len() >= maxReady }

// fill makes the next packet for the guest. It writes the payload to the given slices, which have
// room for at least one byte, and its length to h. It reports false if there is no packet.
func (m *muxer) fill(h *header, payload [][]byte) bool {
	for {
		if m.resets.len() > 0 {
			*h = m.resets.pop()
			return true
		}
		if m.ready.len() == 0 {
			return false
		}
		c := m.ready.pop()
		c.queued = false
		if c.state == stateGone {
			continue
		}
		ok, err := c.fill(h, m.cid, payload)
		if err != nil {
			m.kill(c, err.Error())
			continue
		}
		if ok && h.op == opShutdown {
			m.setDeadline(c)
		}
		m.touch(c)
		if ok {
			return true
		}
	}
}

// touch queues a connection for the rx ring if it has work, and marks it for arm.
func (m *muxer) touch(c *conn) {
	if c.state == stateGone {
		return
	}
	if !c.queued && c.hasWork() {
		c.queued = true
		m.ready.push(c)
	}
	if !c.touched {
		c.touched = true
		m.touched = append(m.touched, c)
	}
}

// arm updates epoll. It runs once per turn, so that a change undone within a turn costs no system
// call.
func (m *muxer) arm() {
	for i := 0; i < len(m.touched); i++ {
		c := m.touched[i]
		c.touched = false
		if c.state == stateGone {
			continue
		}
		if err := c.stream.want(c.interest()); err != nil {
			m.kill(c, err.Error())
		}
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

// answerReset answers a packet without a connection. An RST is never answered.
func (m *muxer) answerReset(h *header) {
	if h.op != opReset {
		m.resets.push(header{
			srcCID: hostCID, dstCID: m.cid, srcPort: h.dstPort, dstPort: h.srcPort, typ: h.typ, op: opReset,
		})
	}
}

// kill ends a connection and tells the guest if the guest knows of it. A non-empty reason is
// logged.
func (m *muxer) kill(c *conn, reason string) {
	if c.state == stateGone {
		return
	}
	if reason != "" {
		m.log.Debug("connection reset", "host port", c.key.hostPort, "guest port", c.key.guestPort,
			"reason", reason)
	}
	if c.due&dueRequest == 0 {
		var h header
		c.header(&h, m.cid, opReset)
		m.resets.push(h)
	}
	m.drop(c)
}

// drop removes a connection and closes its stream.
func (m *muxer) drop(c *conn) {
	c.state = stateGone
	c.out = nil
	c.stream.close()
	delete(m.conns, c.key)
	if m.listen != nil {
		m.listen.roomAgain()
	}
}

// dropAll removes every connection without telling the guest.
func (m *muxer) dropAll() {
	for _, c := range m.conns {
		m.drop(c)
	}
}

// killAll ends every connection with an RST.
func (m *muxer) killAll() {
	for _, c := range m.conns {
		m.kill(c, "")
	}
}

// setDeadline limits a connection's present step to patience.
func (m *muxer) setDeadline(c *conn) {
	at := m.now().Add(patience)
	c.deadline = at
	m.timers.push(timer{at: at, expire: func() {
		if c.state != stateGone && c.deadline.Equal(at) {
			m.kill(c, "timed out")
		}
	}})
}

// expire runs the timers that are due.
func (m *muxer) expire() {
	for _, f := range []*fifo[timer]{&m.timers, &m.retries} {
		for f.len() > 0 && !f.first().at.After(m.now()) {
			f.pop().expire()
		}
	}
}

// untilTimer returns the time until the next timer, negative if there is no timer.
func (m *muxer) untilTimer() time.Duration {
	next := time.Duration(-1)
	for _, f := range []*fifo[timer]{&m.timers, &m.retries} {
		if f.len() > 0 {
			if d := max(0, f.first().at.Sub(m.now())); next < 0 || d < next {
				next = d
			}
		}
	}
	return next
}
