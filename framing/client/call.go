package client

import (
	"context"
	"sync"

	"wick/framing"
)

// A call is a request that waits for its reply.
type call struct {
	seq uint32
	// want is the type of the reply if it is not an error. A request of the extension may get a
	// done instead.
	want framing.Type
	// answered receives one value when the reply is set.
	answered chan struct{}
	reply
}

// reply is the outcome of a call.
type reply struct {
	err    error
	result framing.ExecResult
	pid    uint32
	reason string
	ok     bool

	// The reply to a request of the extension is a done, or the payload of a frame of type want.
	isDone  bool
	done    framing.Done
	payload []byte
}

var calls = sync.Pool{New: func() any { return &call{answered: make(chan struct{}, 1)} }}

// newCall returns a call from the pool, and release puts one back that is no longer referenced.
func newCall(want framing.Type) *call {
	call := calls.Get().(*call)
	call.want = want
	return call
}

func (call *call) release() {
	call.seq, call.reply = 0, reply{}
	calls.Put(call)
}

// answer completes the call with an error, or with the fields set before.
func (call *call) answer(err error) {
	call.err = err
	call.answered <- struct{}{}
}

// nextSeq returns a seq that is not in use. c.mu is held.
func (c *Client) nextSeq() uint32 {
	for {
		c.seq++
		// 0 is reserved for unsolicited frames. Another number is taken only after 2^32 requests
		// while one still waits.
		if c.seq != 0 && c.pending[c.seq] == nil && c.channels[c.seq] == nil {
			return c.seq
		}
	}
}

// register gives the call a seq and makes it wait for its reply. c.mu is held.
func (c *Client) register(call *call) {
	call.seq = c.nextSeq()
	c.pending[call.seq] = call
}

// send queues the request of size bytes that encode appends, and registers the call for its reply.
func (c *Client) send(ctx context.Context, call *call, size int, encode func(dst []byte, seq uint32) []byte) error {
	return c.enqueue(ctx, size, func(dst []byte) []byte {
		c.register(call)
		return encode(dst, call.seq)
	})
}

// enqueue queues the frames of size bytes that put appends, as soon as there is room. put is called
// with c.mu held.
func (c *Client) enqueue(ctx context.Context, size int, put func(dst []byte) []byte) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		if c.err != nil {
			defer c.mu.Unlock()
			return c.err
		}
		if len(c.queue) == 0 || len(c.queue)+size <= queueHigh {
			c.queue = put(c.queue)
			c.mu.Unlock()
			c.rouse()
			return nil
		}
		room := c.emptied()
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		case <-c.done:
		}
	}
}

// emptied returns a channel that is closed when the queue is taken next. c.mu is held.
func (c *Client) emptied() <-chan struct{} {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room
}

// rouse tells the writer that the queue is not empty.
func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// wait waits for the reply of a registered call. Then only the caller references the call.
func (c *Client) wait(ctx context.Context, call *call) error {
	select {
	case <-call.answered:
		return call.err
	case <-ctx.Done():
	}
	if c.forget(call) {
		return ctx.Err()
	}
	// The reply is being delivered right now.
	<-call.answered
	return call.err
}

// abandon drops a call, registered or not, whose reply is not wanted. Then only the caller
// references the call.
func (c *Client) abandon(call *call) {
	if call.seq != 0 && !c.forget(call) {
		<-call.answered
	}
}

// forget unregisters the call, and reports whether it was still registered.
func (c *Client) forget(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[call.seq] != call {
		return false
	}
	delete(c.pending, call.seq)
	return true
}

// roundTrip sends a request and waits for its reply.
func (c *Client) roundTrip(ctx context.Context, call *call, size int, encode func([]byte, uint32) []byte) error {
	if err := c.send(ctx, call, size, encode); err != nil {
		return err
	}
	return c.wait(ctx, call)
}
