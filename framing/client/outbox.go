package client

import (
	"context"
	"sync"
	"syscall"

	"wick/framing"
)

// outboxLimit is how many bytes of a process's stdin are held: what was sent and the guest has not taken, at most 60 KiB, and what waits
// to be sent.
const outboxLimit = 128 << 10

// An outbox is the host's end of a process's stdin. What was sent is held until the guest says that it was taken, for it may have
// to be sent again on another connection.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	// What mu guards:
	ring   ring   // what was not yet taken
	base   uint64 // where in the stream it begins
	sent   uint64 // where in the stream that ends which was sent
	took   uint64 // and that which the guest has taken, by its word
	limit  uint64 // how far it lets it go
	ended  bool   // nothing more will be written
	said   bool   // and the guest was told
	closed bool   // the guest reads no more
	err    error  // why nothing can be sent, for now
	// anywhere: where the stream begins is for the guest to say.
	anywhere bool
	to       remote
	round    int // counts resume, so that the pump of an earlier connection ends
}

func newOutbox() *outbox {
	b := &outbox{}
	b.changed.L = &b.mu
	return b
}

// resume sends to a channel, whose guest has taken so much of the stream and lets so much more come. It reports false if what the
// guest has not got is not there any more.
func (b *outbox) resume(to remote, taken uint64, credit uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.anywhere {
		b.base, b.anywhere = taken, false
	}
	if taken < b.base || taken > b.base+uint64(b.ring.n) {
		return false
	}
	b.ring.drop(int(taken - b.base))
	b.ring.grow(b.ring.n) // the pump of an earlier connection may still send what it had, which stays as it is in the old place
	b.base, b.sent, b.took, b.limit = taken, taken, taken, taken+uint64(credit)
	b.to, b.err, b.said = to, nil, false
	b.round++
	go b.pump(b.round)
	b.changed.Broadcast()
	return true
}

// grant is credit of the guest's: as much was taken.
func (b *outbox) grant(n uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit += uint64(n)
	b.took += uint64(n)
	b.trim()
	b.changed.Broadcast()
}

// trim drops what was taken. What is being sent this moment may have been taken too, and stays until it is known to be sent.
func (b *outbox) trim() {
	if taken := min(b.took, b.sent); taken > b.base && !b.closed {
		b.ring.drop(int(taken - b.base))
		b.base = taken
	}
}

// close is the guest's word that it reads no more.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.ring = ring{}
	b.changed.Broadcast()
}

// fail has nothing sent, and writers get err, until resume.
func (b *outbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.changed.Broadcast()
}

// end ends the stream behind what was written.
func (b *outbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// write puts p into the stream, and waits for room as long as there is a connection. After an error n bytes are in it, and will be sent
// if there is another. The error is EPIPE if the guest reads no more or the stream was ended.
func (b *outbox) write(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closed || b.ended:
			return n, syscall.EPIPE
		case n == len(p):
			return n, nil
		case b.err != nil:
			return n, b.err
		}
		if k := min(len(p)-n, outboxLimit-b.ring.n); k > 0 {
			b.ring.put(p[n : n+k])
			n += k
			b.changed.Broadcast()
			continue
		}
		b.changed.Wait()
	}
}

// pump sends what there is, as credit allows, until the connection, the process or the stream ends.
func (b *outbox) pump(round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.round == round && b.err == nil && !b.closed {
		end := b.base + uint64(b.ring.n)
		n := min(end, b.limit) - b.sent
		switch {
		case n > 0:
			piece := b.ring.at(int(b.sent - b.base))
			piece = piece[:min(uint64(len(piece)), n, inputFrameMax)]
			to := b.to
			b.mu.Unlock()
			to.input(context.Background(), piece) // which ends with the connection
			b.mu.Lock()
			if b.round == round {
				b.sent += uint64(len(piece))
				b.trim()
				b.changed.Broadcast()
			}
		case b.ended && b.sent == end:
			if !b.said {
				b.said = true
				b.to.close(framing.StreamInput)
			}
			return
		default:
			b.changed.Wait()
		}
	}
}
