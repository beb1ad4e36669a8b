package client

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// queueHigh is how many bytes of frames may wait for the guest to read before a further request waits for its turn. One
	// frame may exceed it by itself.
	queueHigh = 256 << 10
	// lastWordsLimit is how long after a failed write the guest's last frames are still read: replies that were on
	// their way, and the error that says why it left.
	lastWordsLimit = time.Second
)

// Client is a connection to a guest. It may be used by any number of goroutines.
//
// Two goroutines serve it until it ends: one reads and hands each reply to its call, the other writes what the calls have put
// into the queue, many small frames at a time if they come quickly.
type Client struct {
	conn net.Conn
	in   *reader
	// done is closed when the connection has ended, after err is set.
	done chan struct{}
	// wake tells the writer that the queue is no longer empty.
	wake chan struct{}
	// turn is held by the one who writes to conn: the writer for a batch, or a WriteFile for its frame.
	turn   chan struct{}
	onExit func(*Exit) bool
	onData func(pid uint32, data []byte)

	mu sync.Mutex
	// What mu guards:
	err      error // why the connection ended
	writeErr error // what the first failed write reported
	seq      uint32
	pending  map[uint32]*call
	channels map[uint32]receiver
	queue    []byte        // whole frames
	room     chan struct{} // closed when the queue was taken; nil if nobody waits for that
	exits    exits
	hello    *Hello // what the guest last answered; nil before

	// saying is held by the one who says hello.
	saying chan struct{}

	// lastWords is an error frame with seq 0; only the reading goroutine has it.
	lastWords *RemoteError
}

// newClient serves conn, on which ready has come and r stands behind it.
func newClient(conn net.Conn, r *reader, o options) *Client {
	c := &Client{
		conn: conn, in: r, onExit: o.onExit, onData: o.onData,
		done: make(chan struct{}), wake: make(chan struct{}, 1), turn: make(chan struct{}, 1), saying: make(chan struct{}, 1),
		pending: map[uint32]*call{}, channels: map[uint32]receiver{},
	}
	r.keep = c.keep
	go c.read()
	go c.write()
	return c
}

// Done is closed when the connection has ended, by either side.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection lives, and then [ErrClosed] or a [*ConnError].
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// RemoteAddr is the other end as the socket names it.
func (c *Client) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// Close ends the connection, and every call on it with [ErrClosed]. It waits for nothing: neither for replies, which are lost, nor
// for the guest to read. Commands that run in the guest run on. It returns nil however often it is called.
func (c *Client) Close() error {
	c.end(ErrClosed)
	return nil
}

// end ends the connection for the given reason, unless it has ended.
func (c *Client) end(reason error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = reason
	pending, channels := c.pending, c.channels
	c.pending, c.channels = nil, nil
	c.mu.Unlock()
	close(c.done)
	c.conn.Close() // which ends both goroutines
	for _, call := range pending {
		call.answer(reason)
	}
	for _, r := range channels {
		r.lost(reason)
	}
}

// read is the reading goroutine.
func (c *Client) read() {
	for {
		f, err := c.in.next()
		if err == nil {
			err = c.deliver(&f)
		}
		if err != nil {
			c.end(&ConnError{Err: c.cause(err)})
			return
		}
	}
}

// cause picks the best reason for the end of the connection that read has met with err.
func (c *Client) cause(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, protocol := err.(*ProtocolError); {
	case protocol:
		return err
	case c.lastWords != nil:
		return c.lastWords
	case c.writeErr != nil:
		return c.writeErr
	}
	return err
}

// write is the writing goroutine.
func (c *Client) write() {
	var batch []byte
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		select {
		case c.turn <- struct{}{}:
		case <-c.done:
			return
		}
		batch = c.takeQueue(batch)
		_, err := c.conn.Write(batch)
		<-c.turn
		if err != nil {
			c.writeFailed(err)
			return
		}
		if cap(batch) > 2*queueHigh {
			batch = nil // one huge command shall not be paid for ever after
		}
	}
}

// takeQueue takes all that waits, leaves the given buffer in its place, and lets those who wait for room in.
func (c *Client) takeQueue(spare []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch := c.queue
	c.queue = spare[:0]
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	return batch
}

// writeFailed notes that the guest takes nothing more. The connection ends when what it has sent is read.
func (c *Client) writeFailed(err error) {
	c.mu.Lock()
	if c.writeErr == nil {
		c.writeErr = err
	}
	c.mu.Unlock()
	c.conn.SetReadDeadline(time.Now().Add(lastWordsLimit))
}

var _ io.Closer = (*Client)(nil)
