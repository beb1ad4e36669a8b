package client

import (
	"io"
	"sync"

	"wick/framing"
)

// An inbox is the host's end of a stream that comes from the guest. It holds what has come and was not yet taken, which is never more
// than the window: so much the guest is granted, and no more until some of it was taken.
type inbox struct {
	stream framing.Stream
	window int
	limit  uint64 // bytes of the whole stream; 0 means no limit

	mu      sync.Mutex
	changed sync.Cond
	// What mu guards:
	ring     ring
	received uint64 // since the start of the stream
	credit   int    // what the guest may still send
	owed     int    // what was taken and not yet granted again
	// confirmed is how far the guest takes it that content has arrived, at most: where the channel began, and what was granted since. For
	// a kept process it lets go of that.
	confirmed uint64
	discard   bool  // nobody takes: what comes is dropped
	refused   bool  // and the guest is told so
	ended     bool  // the guest's close has come
	err       error // why nothing comes any more, or for now
	from      remote
	open      bool // the guest has opened the channel, and takes grants
}

func newInbox(s framing.Stream, window int) *inbox {
	b := &inbox{stream: s, window: window}
	b.changed.L = &b.mu
	return b
}

// resume has the stream come from a channel that is being opened, and returns what the guest is granted at first and how many bytes
// have come before.
func (b *inbox) resume(from remote) (credit uint32, received uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from, b.err, b.owed, b.open = from, nil, 0, false
	b.confirmed = b.received
	b.credit = b.window - b.ring.n
	return uint32(b.credit), b.received
}

// opened tells that the channel is open.
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

// receive takes what has come. Its error is a *ProtocolError.
func (b *inbox) receive(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(data) > b.credit {
		return protocolErrorf("output of %d bytes, credit is %d", len(data), b.credit)
	}
	if b.ended {
		return protocolErrorf("output behind the end of its stream")
	}
	if b.limit > 0 && b.received+uint64(len(data)) > b.limit {
		return protocolErrorf("output of more than %d bytes, and no more was asked for", b.limit)
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
		// Of what was taken now some may have come by an earlier channel, so to grant it here would confirm what is still on its way.
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

// confirm grants all that was taken, worth a frame or not, so that the guest knows that it arrived.
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

// end is the end of the stream.
func (b *inbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// fail has readers that took all that there is get err, until resume. A stream that has ended stays as it is.
func (b *inbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.open = err, false
	b.changed.Broadcast()
}

// drain drops what there is and what will come. With refuse the guest is told that no more is wanted.
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

// peek waits for content and returns what of it lies in one piece. It stays there until advance. The error is io.EOF at the end.
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
		return // and with it what was there
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

// WriteTo implements io.WriterTo, for one goroutine at a time. What w did not take is still there.
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
