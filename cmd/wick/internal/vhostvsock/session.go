package vhostvsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sys/unix"
)

// The device's virtqueues (virtio 1.2, 5.10.2).
const (
	rxRing = iota
	txRing
	eventRing
	ringCount
)

// session is the device as one front-end has set it up.
type session struct {
	frontend frontend
	log      *slog.Logger
	socket   *unixSocket // UDS

	features         uint64
	protocolFeatures uint64
	memory           *memory
	rings            [ringCount]*ring
	mux              *muxer
	chain            chain // of the packet in hand
	event            bool  // a transport reset waits for a buffer in the event ring

	over bool  // the front-end is gone, or its messages are invalid
	err  error // the reason, if it did not just leave
}

func newSession(fd int, cid uint64, socket *unixSocket, p *poller, log *slog.Logger) (*session, error) {
	s := &session{
		frontend: frontend{fd: fd},
		log:      log,
		socket:   socket,
		memory:   &memory{},
		mux:      newMuxer(cid, socket.path, p, log),
	}
	for i := range s.rings {
		s.rings[i] = newRing()
	}
	return s, p.add(fd, func(uint32) { s.read() }).want(unix.EPOLLIN)
}

// close releases everything except the poller's sources.
func (s *session) close() {
	s.mux.stopListening()
	s.mux.dropAll()
	for _, q := range s.rings {
		q.stop()
	}
	s.memory.close()
	s.frontend.close()
}

// read handles the messages that have arrived.
func (s *session) read() {
	for !s.over {
		m, fds, err := s.frontend.read()
		if err == unix.EAGAIN {
			return
		}
		if err == nil {
			err = s.handle(m, fds)
		}
		if err != nil {
			s.over = true
			if err != io.EOF {
				s.err = err
			}
		}
	}
}

// errUnknownRequest does not end a session, because the front-end can do without the request.
var errUnknownRequest = errors.New("unknown request")

// handle performs a message's request and answers it. An error ends the session. With REPLY_ACK the
// front-end is told of a failure and decides. Without it the front-end would go on with a guest
// that hangs, so the session ends.
func (s *session) handle(m message, fds []int) error {
	fds, reply, err := s.dispatch(m, fds)
	closeAll(fds)
	if err != nil {
		err = fmt.Errorf("vhost-user message %d: %w", m.request, err)
		s.log.Warn("request failed", "err", err)
	}
	s.ringsChanged()
	switch {
	case reply != nil:
		return s.frontend.reply(m, reply)
	case s.protocolFeatures&protocolReplyAck != 0 && m.flags&flagNeedReply != 0:
		verdict := uint64(0)
		if err != nil {
			verdict = 1
		}
		return s.frontend.reply(m, binary.LittleEndian.AppendUint64(nil, verdict))
	case errors.Is(err, errUnknownRequest):
		return nil
	}
	return err
}

// dispatch returns the descriptors that it did not take over, and a reply's payload for messages
// that have one.
func (s *session) dispatch(m message, fds []int) (rest []int, reply []byte, err error) {
	switch m.request {
	case reqGetFeatures:
		return fds, binary.LittleEndian.AppendUint64(nil, offeredFeatures), nil
	case reqSetFeatures:
		return fds, nil, s.setFeatures(m)
	case reqGetProtocolFeatures:
		return fds, binary.LittleEndian.AppendUint64(nil, offeredProtocolFeatures), nil
	case reqSetProtocolFeatures:
		return fds, nil, s.setProtocolFeatures(m)
	case reqGetQueueNum:
		return fds, binary.LittleEndian.AppendUint64(nil, ringCount), nil
	case reqGetConfig:
		config := binary.LittleEndian.AppendUint64(nil, s.mux.cid)
		if reply, err = m.configReply(config); err != nil {
			reply = []byte{}
		}
		return fds, reply, err
	case reqSetOwner:
		return fds, nil, nil
	case reqResetOwner:
		for _, q := range s.rings {
			q.stop()
		}
		s.mux.dropAll()
		return fds, nil, nil
	case reqSetMemTable:
		return fds, nil, s.setMemTable(m, fds)
	case reqSetVringNum, reqSetVringBase, reqSetVringEnable, reqGetVringBase:
		reply, err = s.setVring(m)
		return fds, reply, err
	case reqSetVringAddr:
		return fds, nil, s.setVringAddr(m)
	case reqSetVringKick, reqSetVringCall, reqSetVringErr:
		return s.setVringFD(m, fds)
	}
	return fds, nil, errUnknownRequest
}

func (s *session) setFeatures(m message) error {
	v, err := m.uint64()
	if err != nil {
		return err
	}
	if v&^offeredFeatures != 0 {
		return fmt.Errorf("features %#x were not offered", v&^offeredFeatures)
	}
	s.features = v
	return nil
}

func (s *session) setProtocolFeatures(m message) error {
	v, err := m.uint64()
	if err != nil {
		return err
	}
	if v&^offeredProtocolFeatures != 0 {
		return fmt.Errorf("protocol features %#x were not offered", v&^offeredProtocolFeatures)
	}
	s.protocolFeatures = v
	return nil
}

func (s *session) setMemTable(m message, fds []int) error {
	specs, err := m.regionTable()
	if err != nil {
		return err
	}
	mem, err := mapMemory(specs, fds)
	if err != nil {
		return err
	}
	old := s.memory
	s.memory = mem
	for i, q := range s.rings {
		if q.placed {
			if e := q.place(mem); e != nil {
				err = errors.Join(err, fmt.Errorf("ring %d: %w", i, e))
			}
		}
	}
	old.close()
	return err
}

func (s *session) ring(index uint32) (*ring, error) {
	if index >= ringCount {
		return nil, fmt.Errorf("ring %d of %d", index, ringCount)
	}
	return s.rings[index], nil
}

func (s *session) setVring(m message) ([]byte, error) {
	index, num, err := m.vringState()
	if err != nil {
		return nil, err
	}
	q, err := s.ring(index)
	if err != nil {
		return nil, err
	}
	switch m.request {
	case reqSetVringNum:
		if err := q.setSize(num); err != nil || !q.placed {
			return nil, err
		}
		return nil, q.place(s.memory)
	case reqSetVringBase:
		q.next = uint16(num)
	case reqSetVringEnable:
		q.enabled = num != 0
	case reqGetVringBase:
		reply := binary.LittleEndian.AppendUint32(nil, index)
		return binary.LittleEndian.AppendUint32(reply, uint32(q.stop())), nil
	}
	return nil, nil
}

func (s *session) setVringAddr(m message) error {
	a, err := m.vringAddr()
	if err != nil {
		return err
	}
	q, err := s.ring(a.index)
	if err != nil {
		return err
	}
	q.addr, q.placed = a, true
	return q.place(s.memory)
}

// setVringFD sets a ring's kick, call or err descriptor. It takes over a descriptor that it uses.
func (s *session) setVringFD(m message, fds []int) (rest []int, reply []byte, err error) {
	v, err := m.uint64()
	if err != nil {
		return fds, nil, err
	}
	q, err := s.ring(uint32(v & vringIndexMask))
	if err != nil {
		return fds, nil, err
	}
	fd := -1
	switch {
	case v&vringNoFD == 0 && len(fds) != 1:
		return fds, nil, fmt.Errorf("%d descriptors, want 1", len(fds))
	case v&vringNoFD == 0:
		fd = fds[0]
		// The front-end's eventfds are non-blocking already. A write to one that is not could block
		// the loop.
		if err := unix.SetNonblock(fd, true); err != nil {
			return fds, nil, fmt.Errorf("set ring descriptor non-blocking: %w", err)
		}
		fds = nil
	case m.request == reqSetVringKick:
		return fds, nil, errors.New("a ring without kicks is not supported")
	}
	switch m.request {
	case reqSetVringCall:
		q.setCall(fd)
	case reqSetVringErr:
		q.setErr(fd)
	case reqSetVringKick:
		q.setKick(s.mux.poll, fd)
		// Without protocol features there is no SET_VRING_ENABLE, and a ring is enabled from the
		// start.
		if s.features&featureProtocolFeatures == 0 {
			q.enabled = true
		}
		return fds, nil, q.kick.want(unix.EPOLLIN)
	}
	return fds, nil, nil
}

// ringsChanged starts or stops the device, which needs rx and tx.
func (s *session) ringsChanged() {
	rx, tx := s.rings[rxRing], s.rings[txRing]
	switch running := rx.running() && tx.running(); {
	case running && s.mux.listen == nil:
		// Rings that begin at 0 belong to a driver that has just started, so earlier connections
		// are gone. Rings that go on where they stopped (a paused machine) keep their connections.
		if rx.next == 0 && tx.next == 0 {
			s.mux.dropAll()
			s.mux.resets = fifo[header]{}
			s.event = false
		}
		if err := s.mux.startListening(s.socket); err != nil {
			s.over, s.err = true, err
		}
	case !running && s.mux.listen != nil:
		s.mux.stopListening()
	}
}

// resetConnections ends every connection like the restore of a snapshot: by the event ring if the
// front-end passed one on, else with an RST each.
func (s *session) resetConnections() {
	if l := s.mux.listen; l != nil {
		for g := range l.greetings {
			g.end(errors.New("connections reset"))
		}
	}
	if !s.rings[eventRing].running() {
		s.mux.killAll()
		return
	}
	for _, c := range s.mux.conns {
		// A guest that still waits for its RESPONSE has no connection that the event could end.
		if c.due&dueResponse != 0 {
			s.mux.kill(c, "")
		}
	}
	s.mux.dropAll()
	s.event = true
}
