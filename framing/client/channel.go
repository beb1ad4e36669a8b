package client

import (
	"context"

	"wick/framing"
)

// A receiver gets the frames of a channel; see framing/extension.md. Its methods must not block:
// the reading goroutine calls them, or the goroutine that ends the connection.
type receiver interface {
	// receive handles a frame, whose payload is valid until it returns. It reports whether the
	// channel has ended. Its error is a *ProtocolError.
	receive(f *frame) (last bool, err error)
	// lost tells the receiver that the connection has ended.
	lost(err error)
}

// receiver returns the receiver of the channel with that seq, or nil.
func (c *Client) receiver(seq uint32) receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[seq]
}

// deliverTo delivers f to the receiver of its channel.
func (c *Client) deliverTo(r receiver, f *frame) error {
	last, err := r.receive(f)
	if err != nil {
		return err // the connection ends with this error, and r is told so
	}
	if last {
		c.closeChannel(f.Seq)
	}
	return nil
}

// openChannel sends the request of size bytes that encode appends. It opens a channel for r.
// prepare is called with its seq before the request is sent.
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

// closeChannel forgets a channel. Frames that still arrive for it are dropped.
func (c *Client) closeChannel(seq uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.channels, seq)
}

// postNow queues a small frame without waiting for room. There is at most one for each frame from
// the guest or for each channel, so they cannot pile up.
func (c *Client) postNow(put func(dst []byte) []byte) {
	c.mu.Lock()
	if c.err == nil {
		c.queue = put(c.queue)
	}
	c.mu.Unlock()
	c.rouse()
}

// flush returns when everything queued has been written, or ctx ends. It is for frames that must
// arrive although the connection may be closed next.
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
	// The holder of the turn has taken the queue, and has written it when it returns the turn.
	select {
	case c.turn <- struct{}{}:
		<-c.turn
	case <-ctx.Done():
	case <-c.done:
	}
}

// A remote names a channel to the guest.
type remote struct {
	c   *Client
	seq uint32
}

// grant lets the guest send n bytes more of a stream.
func (r remote) grant(s framing.Stream, n uint32) {
	r.c.postNow(func(dst []byte) []byte { return framing.AppendCredit(dst, r.seq, s, n) })
}

// close ends a stream to the guest, or tells the guest that no more of a stream from it is wanted.
func (r remote) close(s framing.Stream) {
	r.c.postNow(func(dst []byte) []byte { return framing.AppendClose(dst, r.seq, s) })
}

// inputFrameMax is the most content of an input frame, in bytes.
const inputFrameMax = framing.MaxOutputData

// input sends at most inputFrameMax bytes of content on stream 0, as soon as there is room. It does
// nothing once ctx or the connection has ended: the stream's writer learns of that elsewhere.
func (r remote) input(ctx context.Context, data []byte) {
	r.c.enqueue(ctx, framing.HeaderSize+len(data), func(dst []byte) []byte {
		return framing.AppendFrame(dst, framing.TypeInput, r.seq, data)
	})
}
