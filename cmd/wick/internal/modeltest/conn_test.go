package modeltest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// patience limits each wait for something that must happen. It ends a run that hangs, and does not
// measure speed.
const patience = 90 * time.Second

// end is how a host ends a connection.
type end int

const (
	endNot     end = iota
	endHalf        // shuts down writing: the replies come, then the end
	endRefused     // sends an impossible length: an error comes, then the end
	endDrain       // shuts down both sides, and reads what had come until then
	endReset       // as endDrain, but leaves it unread: the agent sees a reset
	endHard        // closes at once, whatever is under way
)

func (e end) String() string {
	return [...]string{"no end", "half-close", "refusal", "drained end", "reset", "hard close"}[e]
}

// conn is a connection to the agent and the replies that are owed on it.
type conn struct {
	m    *model
	name string
	c    *net.UnixConn
	done chan struct{} // closed when nothing more is read
	last chan struct{} // closed when the end was decided

	orders chan func() // run by the reader
	chunk  int         // bytes to read at a time; owned by the reader

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when pending shrinks or the connection is ready
	ready    bool
	refusing bool   // something that the agent must refuse was sent
	refused  bool   // the error that refuses it has come
	refusal  string // text of that error; any if empty
	how      end
	endedAt  time.Time // when the end was decided
	over     bool      // ended was called
	pending  map[uint32]*request
	channels map[uint32]channel
	features int    // of the hello_result
	partial  []byte // an incomplete frame

	greeting bool // the host will ask for the extension
	greeted  bool // it has asked
}

// dial opens a connection. It does not wait for the ready.
func (m *model) dial(name string) (*conn, error) {
	m.resets.RLock() // a reset sees the new connection, or comes before it
	defer m.resets.RUnlock()
	raw, err := m.target.dial()
	if err != nil {
		return nil, err
	}
	c := &conn{
		m: m, name: name, c: raw, done: make(chan struct{}), last: make(chan struct{}), orders: make(chan func(), 4), chunk: 64 << 10,
		changed: make(chan struct{}), pending: map[uint32]*request{}, channels: map[uint32]channel{},
	}
	m.mu.Lock()
	m.conns[c] = true
	m.count.conns++
	m.mu.Unlock()
	go c.read()
	return c, nil
}

// read reads and checks frames until the connection ends. It runs in a goroutine of its own.
func (c *conn) read() {
	defer close(c.done)
	defer c.c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.c.Read(buf[:c.chunk])
		if n > 0 {
			if wrong := c.take(buf[:n]); wrong != nil {
				c.m.fail("%s: %v", c.name, wrong)
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.obey()
			c.c.SetReadDeadline(time.Time{})
			c.obey() // one may have come meanwhile, and its deadline was just cleared
			continue
		}
		if err != nil {
			c.ended(err)
			return
		}
	}
}

func (c *conn) obey() {
	for {
		select {
		case order := <-c.orders:
			order()
		default:
			return
		}
	}
}

// order makes the reader call f between two reads.
func (c *conn) order(f func()) {
	select {
	case c.orders <- f:
		c.c.SetReadDeadline(time.Unix(1, 0))
	case <-c.done:
	}
}

// take splits the bytes that came into frames and checks each.
func (c *conn) take(b []byte) error {
	c.partial = append(c.partial, b...)
	rest := c.partial
	for {
		f, behind, err := wiretest.Cut(rest)
		if err != nil {
			return err
		}
		if f == nil {
			break
		}
		if err := c.frame(f.Type, f.Seq, f.Payload); err != nil {
			return err
		}
		rest = behind
	}
	c.partial = c.partial[:copy(c.partial, rest)]
	return nil
}

// frame checks a frame against what is owed.
func (c *conn) frame(typ byte, seq uint32, payload []byte) error {
	if !c.isReady() {
		if typ != wiretest.Ready || seq != 0 || len(payload) > 0 {
			return fmt.Errorf("it began with type 0x%02X seq %d %s, and not with ready", typ, seq, wiretest.Brief(payload))
		}
		c.note(func() { c.ready = true })
		return nil
	}
	if typ == wiretest.ProcessExit && seq == 0 {
		return c.m.exited(c, payload)
	}
	if is, err := c.toChannel(typ, seq, payload); is {
		return err
	}
	c.mu.Lock()
	q := c.pending[seq]
	refused, why := seq == 0 && typ == wiretest.Error && c.refusing && !c.refused, c.refusal
	c.mu.Unlock()
	if refused {
		c.note(func() { c.refused = true })
		return wantError(why)(typ, payload)
	}
	if q == nil {
		return fmt.Errorf("type 0x%02X seq %d %s, which answers nothing", typ, seq, wiretest.Brief(payload))
	}
	if err := q.check(typ, payload); err != nil {
		return fmt.Errorf("%s: %w", q.what, err)
	}
	c.note(func() { delete(c.pending, seq) })
	c.m.replied()
	return nil
}

func (c *conn) isReady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// note applies a change and wakes up everything that waits for one.
func (c *conn) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// owe records requests that are about to be sent.
func (c *conn) owe(requests ...*request) error {
	now := time.Now()
	c.mu.Lock()
	over := c.over
	for _, q := range requests {
		q.at = now
		switch {
		case over || q.silent:
		case q.channel != nil:
			c.channels[q.seq] = q.channel
		default:
			c.pending[q.seq] = q
		}
	}
	c.mu.Unlock()
	if !over {
		return nil
	}
	for _, q := range requests {
		if q.lost != nil {
			q.lost()
		}
		if q.channel != nil {
			q.channel.lost()
		}
	}
	return errEnded
}

// expect declares how the connection is about to end, before anything ends it. Only the first
// declaration counts; expect reports whether it was this one.
func (c *conn) expect(how end) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.how != endNot {
		return false
	}
	c.how, c.endedAt, c.refusing = how, time.Now(), how == endRefused
	close(c.last)
	return true
}

// broken declares that the connection is closed from elsewhere, whatever end the host has declared.
func (c *conn) broken() {
	if c.expect(endHard) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.how = endHard
}

func (c *conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.how != endNot
}

// await waits until f returns true. It calls f with c.mu held. It returns errEnded if the
// connection has ended as declared or the model has failed.
func (c *conn) await(what string, f func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		ok, changed := f(), c.changed
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-c.done:
			if !c.ending() {
				return fmt.Errorf("%s: it ended before %s", c.name, what)
			}
			return errEnded
		case <-c.m.failed:
			return errEnded
		case <-limit.C:
			return fmt.Errorf("%s: no %s within %v; owed: %s", c.name, what, patience, c.owes())
		}
	}
}

// errEnded reports that a connection has ended as intended.
var errEnded = errors.New("ended")

func (c *conn) owes() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprint(len(c.pending))
	for _, ch := range c.channels {
		text += ", " + ch.String()
	}
	for _, q := range c.pending {
		text += ", " + q.what + " for " + time.Since(q.at).Round(time.Millisecond).String()
		if len(text) > 400 {
			return text + "…"
		}
	}
	return text
}

// opened waits for the ready.
func (c *conn) opened() error { return c.await("ready", func() bool { return c.ready }) }

// settled waits until no reply is owed.
func (c *conn) settled() error {
	return c.await("replies", func() bool { return len(c.pending) == 0 })
}

// finish begins to end the connection, and does not wait for the end.
func (c *conn) finish(how end) {
	if !c.m.target.exact() {
		how = endHard // the vsock device has no half-close, and drops what is under way
	}
	if !c.expect(how) {
		return
	}
	switch how {
	case endHalf:
		c.c.CloseWrite()
	case endDrain:
		shutdown(c.c)
	case endReset:
		c.order(c.reset)
	case endHard:
		c.m.doubtExits()
		c.c.Close()
	}
}

// shutdown shuts down both directions at once. Data that the agent has written can still be read,
// and its later writes fail.
func shutdown(c *net.UnixConn) {
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
}

// reset checks what has come without consuming it, and closes. The bytes that are unread in the
// kernel make the other side see a reset.
func (c *conn) reset() {
	shutdown(c.c)
	raw, err := c.c.SyscallConn()
	if err != nil {
		return
	}
	var seen []byte
	raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil || n == 0 {
			return
		}
		seen = make([]byte, n)
		n, _, _ = unix.Recvfrom(int(fd), seen, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		seen = seen[:max(n, 0)]
	})
	if err := c.take(seen); err != nil {
		c.m.fail("%s: %v", c.name, err)
	}
	c.c.Close()
}

// ended checks how the connection ended and what was still owed.
func (c *conn) ended(err error) {
	c.m.mu.Lock()
	delete(c.m.conns, c)
	c.m.mu.Unlock()
	c.mu.Lock()
	how, pending, channels := c.how, c.pending, c.channels
	c.over = true
	c.pending, c.channels = map[uint32]*request{}, map[uint32]channel{}
	refused := c.refused
	c.mu.Unlock()
	if how == endHalf || how == endNot || how == endRefused {
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) || len(c.partial) > 0 {
			c.m.fail("%s: it ended with %v and %d bytes of a frame", c.name, err, len(c.partial))
		}
	}
	for _, ch := range channels {
		ch.lost()
	}
	for _, q := range pending {
		switch {
		case how == endNot, how == endHalf, how == endRefused && q.prompt:
			c.m.fail("%s: %v, it ended with %v, and %s was not answered, %d bytes of a frame being there", c.name, how, err, q.what, len(c.partial))
		}
		if q.lost != nil {
			q.lost()
		}
	}
	switch {
	case how == endNot:
		c.m.fail("%s: the agent closed it (%v)", c.name, err)
	case how == endRefused && !refused:
		c.m.fail("%s: it ended without the error that says why", c.name)
	}
}
