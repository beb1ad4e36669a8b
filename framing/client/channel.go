package client

import (
	"context"

	"wick/framing"
)

// A receiver is what the frames of a channel go to; see framing/extension.md. Its methods are called on the goroutine that reads
// from the guest, or by who ends the connection, so they wait for nothing.
type receiver interface {
	// receive takes a frame, whose payload is good until it returns, and reports whether the channel ended with it. Its error is a
	// *ProtocolError.
	receive(f *frame) (last bool, err error)
	// lost tells that the connection has ended.
	lost(err error)
}

// receiver is what has the channel with that number, or nil.
func (c *Client) receiver(seq uint32) receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[seq]
}

// deliverTo hands f to the channel that it is about.
func (c *Client) deliverTo(r receiver, f *frame) error {
	last, err := r.receive(f)
	if err != nil {
		return err // the connection ends of it, and r hears of that
	}
	if last {
		c.closeChannel(f.Seq)
	}
	return nil
}

// openChannel sends the request of size bytes that encode appends. What it opens is r's from before it is sent, with the seq that prepare is
// given.
func (c *Client) openChannel(ctx context.Context, r receiver, size int, prepare func(remote), encode func(dst []byte, seq uint32) []byte) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	seq := c.nextSeq()
	c.channels[seq] = r
	c.mu.Unlock()
	prepare(remote{c, seq})
	err := c.enqueue(ctx, size, func(dst []byte) []byte { return encode(dst, seq) })
	if err != nil {
		c.closeChannel(seq)
	}
	return err
}

// closeChannel forgets a channel. What still comes of it is dropped.
func (c *Client) closeChannel(seq uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.channels, seq)
}

// postNow queues a small frame without waiting for room. There is never more than one for each that the guest sent, or for each
// channel, so they cannot pile up.
func (c *Client) postNow(put func(dst []byte) []byte) {
	c.mu.Lock()
	if c.err == nil {
		c.queue = put(c.queue)
	}
	c.mu.Unlock()
	c.rouse()
}

// flush returns when all that is queued was written, or ctx ends: for what is to arrive though the connection may be closed next.
func (c *Client) flush(ctx context.Context) {
	c.mu.Lock()
	var taken <-chan struct{}
	if len(c.queue) > 0 {
		taken = c.emptied()
	}
	c.mu.Unlock()
	if taken != nil {
		select {
		case <-taken:
		case <-ctx.Done():
			return
		case <-c.done:
			return
		}
	}
	// It is taken by the one who has the turn, and written when he gives it back.
	select {
	case c.turn <- struct{}{}:
		<-c.turn
	case <-ctx.Done():
	case <-c.done:
	}
}

// A remote names a channel to its guest.
type remote struct {
	c   *Client
	seq uint32
}

// grant lets the guest send n bytes more of a stream.
func (r remote) grant(s framing.Stream, n uint32) {
	r.c.postNow(func(dst []byte) []byte { return framing.AppendCredit(dst, r.seq, s, n) })
}

// close ends a stream to the guest, or says that no more is wanted of one from it.
func (r remote) close(s framing.Stream) {
	r.c.postNow(func(dst []byte) []byte { return framing.AppendClose(dst, r.seq, s) })
}

// inputFrameMax is the most content of an input frame.
const inputFrameMax = framing.MaxOutputData

// input sends content of stream 0, at most inputFrameMax bytes, as soon as there is room. After the end of ctx or of the connection it does nothing, for
// whoever has to know hears of that otherwise.
func (r remote) input(ctx context.Context, data []byte) {
	r.c.enqueue(ctx, framing.HeaderSize+len(data), func(dst []byte) []byte {
		return framing.AppendFrame(dst, framing.TypeInput, r.seq, data)
	})
}
