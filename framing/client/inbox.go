package client

import (
	"io"
	"sync"

	"wick/framing"
)

// An inbox is the host's end of a stream from the guest. It holds what has arrived and was not
// taken yet, never more than the window: the guest is granted that much, and more only as content
// is taken.
type inbox struct {
	stream framing.Stream
	window int
	limit  uint64 // bytes of the whole stream; 0 means no limit

	mu      sync.Mutex
	changed sync.Cond
	// mu guards the fields from here on.
	ring     ring
	received uint64 // since the start of the stream
	credit   int    // what the guest may still send
	owed     int    // what was taken and not granted again yet
	// confirmed is the most content that the guest may assume has arrived: where the channel began,
	// and what was granted since. A kept process drops that much.
	confirmed uint64
	discard   bool  // content is dropped, because it is not wanted
	refused   bool  // and the guest was told so
	ended     bool  // the guest's close has arrived
	err       error // why no content arrives any more, or for now
	from      remote
	open      bool // the guest has opened the channel and accepts grants
}

func newInbox(s framing.Stream, window int) *inbox {
	b := &inbox{stream: s, window: window}
	b.changed.L = &b.mu
	return b
}

// resume makes the stream arrive on a channel that is being opened. It returns the first credit,
// and how many bytes arrived before.
func (b *inbox) resume(from remote) (credit uint32, received uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from, b.err, b.owed, b.open = from, nil, 0, false
	b.confirmed = b.received
	b.credit = b.window - b.ring.n
	return uint32(b.credit), b.received
}

// opened records that the channel is open.
func (b *inbox) opened() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
	if b.refused {
		b.from.close(b.stream)
		return
	}
	b.taken(0)
}

// receive accepts content. Its error is a *ProtocolError.
func (b *inbox) receive(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(data) > b.credit {
		return protocolErrorf("output of %d bytes, credit is %d", len(data), b.credit)
	}
	if b.ended {
		return protocolErrorf("output after the end of its stream")
	}
	if b.limit > 0 && b.received+uint64(len(data)) > b.limit {
		return protocolErrorf("output of more than the %d bytes requested", b.limit)
	}
	b.credit -= len(data)
	b.received += uint64(len(data))
	if b.discard {
		b.taken(len(data))
		return nil
	}
	b.ring.put(data)
	b.changed.Broadcast()
	return nil
}

// taken counts what the guest may send again, and grants it once it is worth a frame. b.mu is held.
func (b *inbox) taken(n int) {
	b.owed += n
	grant := b.owed
	if b.credit > 0 {
		// A part of what was taken may have arrived on an earlier channel. Granting it here would
		// confirm content that is still in flight.
		grant = min(grant, int(b.received-b.confirmed))
	}
	if grant < (b.window+1)/2 || !b.open || b.ended {
		return
	}
	b.from.grant(b.stream, uint32(grant))
	b.credit += grant
	b.owed -= grant
	b.confirmed = min(b.confirmed+uint64(grant), b.received)
}

// confirm grants all that was taken, so that the guest knows that it has arrived.
func (b *inbox) confirm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owed == 0 || !b.open || b.ended {
		return
	}
	b.from.grant(b.stream, uint32(b.owed))
	b.credit += b.owed
	b.owed, b.confirmed = 0, b.received
}

// end ends the stream.
func (b *inbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// fail returns err to readers that have taken all content, until resume. It does not change a
// stream that has ended.
func (b *inbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.open = err, false
	b.changed.Broadcast()
}

// drain drops the content that has arrived or will arrive. With refuse it tells the guest that no
// more is wanted.
func (b *inbox) drain(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.discard {
		return
	}
	b.discard = true
	n := b.ring.n
	b.ring = ring{}
	b.refused = refuse && !b.ended
	if b.refused && b.open {
		b.from.close(b.stream)
	} else {
		b.taken(n)
	}
	b.changed.Broadcast()
}

// peek waits for content and returns a contiguous part of it, which stays until advance. The error
// is io.EOF at the end.
func (b *inbox) peek() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.ring.n > 0:
			return b.ring.at(0), nil
		case b.ended:
			return nil, io.EOF
		case b.err != nil:
			return nil, b.err
		case b.discard:
			return nil, io.ErrClosedPipe
		}
		b.changed.Wait()
	}
}

// advance takes n bytes of what peek returned.
func (b *inbox) advance(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.discard {
		return // the content was dropped meanwhile
	}
	b.ring.drop(n)
	b.taken(n)
}

// Read implements io.Reader, for one goroutine at a time.
func (b *inbox) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	data, err := b.peek()
	if err != nil {
		return 0, err
	}
	n := copy(p, data)
	b.advance(n)
	return n, nil
}

// WriteTo implements io.WriterTo, for one goroutine at a time. Content that w did not accept stays.
func (b *inbox) WriteTo(w io.Writer) (n int64, err error) {
	for {
		data, err := b.peek()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		k, err := w.Write(data)
		if err == nil && k < len(data) {
			err = io.ErrShortWrite
		}
		b.advance(k)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
}
