package vhostvsock

import (
	"encoding/binary"
	"errors"
	"time"
)

// budget limits the packets moved in each direction before the next epoll_wait. So messages and
// host programs get their turn however busy the guest is.
const budget = 256

// turn does all work that is possible now. It returns how long to wait for more, negative for
// forever.
func (s *session) turn() time.Duration {
	s.mux.expire()
	s.pump()
	s.mux.arm()
	if s.workLeft() {
		return 0
	}
	return s.mux.untilTimer()
}

// pump moves packets between the rings and the connections.
func (s *session) pump() {
	rx, tx, event := s.rings[rxRing], s.rings[txRing], s.rings[eventRing]
	if s.event && event.running() {
		s.pumpEvent(event)
	}
	if !rx.running() || !tx.running() {
		return
	}
	s.pumpTx(tx)
	s.pumpRx(rx)
	tx.notify()
	rx.notify()
	if rx.broken || tx.broken {
		s.ringsChanged()
	}
}

// workLeft reports whether pump has more work now. A ring that was found empty has kicks on.
func (s *session) workLeft() bool {
	rx, tx := s.rings[rxRing], s.rings[txRing]
	if s.over {
		return true
	}
	if !rx.running() || !tx.running() {
		return false
	}
	return s.mux.pending() && !rx.kicksOn() || !s.mux.congested() && !tx.kicksOn()
}

// next calls take and handles its errors. It reports found as false if there is no buffer. It
// reports ok as false if the buffer was unusable and was given back.
func (s *session) next(q *ring) (found, ok bool) {
	found, err := q.take(s.memory, &s.chain)
	if errors.Is(err, errRingBroken) {
		s.log.Warn("virtqueue stopped", "err", err)
		q.fail()
		return false, false
	}
	if err != nil {
		s.log.Debug("buffer returned unused", "err", err)
		q.release(s.chain.head, 0)
		return true, false
	}
	return found, found
}

// pumpTx takes packets from the guest until the ring is empty, the budget is spent, or too many
// answers wait for rx.
func (s *session) pumpTx(q *ring) {
	if q.idle() {
		return
	}
	q.kicks(false)
	for n := 0; n < budget && !s.mux.congested(); n++ {
		found, ok := s.next(q)
		if q.broken || !found && q.waitForKick() {
			return
		}
		if ok {
			s.receive()
			q.release(s.chain.head, 0)
		}
	}
}

// receive passes the packet in s.chain to the connections.
func (s *session) receive() {
	var b [headerSize]byte
	if gather(b[:], s.chain.readable) < headerSize {
		s.log.Debug("packet without a whole header dropped")
		return
	}
	h := parseHeader(&b)
	_, payload := split(s.chain.readable, headerSize)
	whole := h.len <= maxPayload && uint64(h.len) <= totalLen(payload)
	if whole {
		payload, _ = split(payload, int(h.len))
	}
	s.mux.receive(&h, payload, whole)
}

// pumpRx gives packets to the guest. A guest without a free buffer kicks when it has one. Until
// then the host programs' streams are not read.
func (s *session) pumpRx(q *ring) {
	if !s.mux.pending() || q.idle() {
		return
	}
	q.kicks(false)
	for n := 0; n < budget && s.mux.pending(); n++ {
		found, ok := s.next(q)
		if q.broken || !found && q.waitForKick() {
			return
		}
		if ok {
			s.send(q)
		}
	}
}

// send makes a packet in s.chain and returns the chain to the guest. If there is no packet after
// all, the ring is unchanged.
func (s *session) send(q *ring) {
	if totalLen(s.chain.writable) <= headerSize {
		s.log.Debug("buffer too small for a packet returned unused")
		q.release(s.chain.head, 0)
		return
	}
	top, payload := split(s.chain.writable, headerSize)
	var h header
	if !s.mux.fill(&h, payload) {
		return
	}
	var b [headerSize]byte
	h.encode(&b)
	scatter(top, b[:])
	q.release(s.chain.head, headerSize+h.len)
}

// pumpEvent tells the guest that its connections are gone.
func (s *session) pumpEvent(q *ring) {
	for s.event {
		found, ok := s.next(q)
		if !found {
			break
		}
		if !ok {
			continue
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], eventTransportReset)
		scatter(s.chain.writable, b[:])
		q.release(s.chain.head, uint32(len(b)))
		s.event = false
	}
	q.notify()
}
