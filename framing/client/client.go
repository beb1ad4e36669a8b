package client

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// queueHigh is how many bytes of frames may be queued before a further request waits. A single
	// frame may exceed it.
	queueHigh = 256 << 10
	// lastWordsLimit is how long the guest's last frames are still read after a failed write. They
	// may be replies, or the error that says why the guest left.
	lastWordsLimit = time.Second
)

// Client is a connection to a guest. Any number of goroutines may use it at the same time.
//
// Two goroutines serve it until it ends. One reads and hands each reply to its call. The other
// writes what the calls have queued, many small frames at a time if they come quickly.
type Client struct {
	conn net.Conn
	in   *reader
	// done is closed when the connection has ended, after err is set.
	done chan struct{}
	// wake tells the writer that the queue is no longer empty.
	wake chan struct{}
	// turn is held by the writer of conn: the writing goroutine for a batch, or a WriteFile for its
	// frame.
	turn   chan struct{}
	onExit func(*Exit) bool
	onData func(pid uint32, data []byte)

	mu sync.Mutex
	// mu guards the fields from here on.
	err      error // why the connection ended
	writeErr error // the error of the first failed write
	seq      uint32
	pending  map[uint32]*call
	channels map[uint32]receiver
	queue    []byte        // whole frames
	room     chan struct{} // closed when the queue is taken; nil if no call waits for room
	exits    exits
	hello    *Hello // the guest's last answer to hello, or nil

	// saying is held by the call that says hello.
	saying chan struct{}

	// lastWords is an error frame with seq 0. Only the reading goroutine uses it.
	lastWords *RemoteError
}

// newClient serves conn. ready has arrived on it, and r reads what follows.
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

// Done returns a channel that is closed when the connection has ended, by either side.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection lives, and then [ErrClosed] or a [*ConnError].
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// RemoteAddr returns the socket's remote address.
func (c *Client) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// Close ends the connection, and every call on it with [ErrClosed]. It does not wait for replies,
// which are lost, or for the guest to read. Commands in the guest keep running. It always returns
// nil, and may be called again.
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
	c.conn.Close() // ends both goroutines
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

// cause returns the best reason for the end of the connection, on which read has failed with err.
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
			batch = nil // release the memory of one huge command
		}
	}
}

// takeQueue takes the queue, leaves spare in its place, and wakes the calls that wait for room.
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

// writeFailed records that the guest takes nothing more. The connection ends once what the guest
// has sent is read.
func (c *Client) writeFailed(err error) {
	c.mu.Lock()
	if c.writeErr == nil {
		c.writeErr = err
	}
	c.mu.Unlock()
	c.conn.SetReadDeadline(time.Now().Add(lastWordsLimit))
}

var _ io.Closer = (*Client)(nil)
