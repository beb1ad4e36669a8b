package client

import (
	"context"
	"sync"
	"syscall"

	"wick/framing"
)

// outboxLimit is how many bytes of a process's stdin are held: what was sent and the guest has not
// taken, at most 60 KiB, and what waits to be sent.
const outboxLimit = 128 << 10

// An outbox is the host's end of a process's stdin. It holds what was sent until the guest has
// taken it, because it may have to be sent again on another connection.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	// mu guards the fields from here on.
	ring   ring   // what the guest has not taken yet
	base   uint64 // the offset of ring in the stream
	sent   uint64 // the offset up to which the stream was sent
	took   uint64 // the offset up to which the guest has taken it
	limit  uint64 // the offset up to which the guest accepts it
	ended  bool   // no more will be written
	said   bool   // and the guest was told so
	closed bool   // the guest reads no more
	err    error  // why nothing can be sent, for now
	// anywhere is set if the guest determines where the stream begins.
	anywhere bool
	to       remote
	round    int // counts resume, so that the pump of an earlier connection ends
}

func newOutbox() *outbox {
	b := &outbox{}
	b.changed.L = &b.mu
	return b
}

// resume sends to a channel whose guest has taken so many bytes of the stream and accepts credit
// more. It reports false if the bytes the guest lacks are no longer held.
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
	// the pump of an earlier connection may still send from the old buffer, which must not change
	b.ring.grow(b.ring.n)
	b.base, b.sent, b.took, b.limit = taken, taken, taken, taken+uint64(credit)
	b.to, b.err, b.said = to, nil, false
	b.round++
	go b.pump(b.round)
	b.changed.Broadcast()
	return true
}

// grant adds credit. The guest has taken that much.
func (b *outbox) grant(n uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit += uint64(n)
	b.took += uint64(n)
	b.trim()
	b.changed.Broadcast()
}

// trim drops what was taken. It keeps what is being sent, which may have been taken too, until the
// write has ended.
func (b *outbox) trim() {
	if taken := min(b.took, b.sent); taken > b.base && !b.closed {
		b.ring.drop(int(taken - b.base))
		b.base = taken
	}
}

// close records that the guest reads no more.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.ring = ring{}
	b.changed.Broadcast()
}

// fail stops sending, and makes writers return err, until resume.
func (b *outbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.changed.Broadcast()
}

// end ends the stream after what was written.
func (b *outbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// write appends p to the stream, and waits for room as long as there is a connection. After an
// error n bytes are in the stream, and are sent if there is another connection. The error is EPIPE
// if the guest reads no more or the stream was ended.
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

// pump sends content as credit allows, until the connection, the process or the stream ends.
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
			to.input(context.Background(), piece) // returns when the connection ends
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
