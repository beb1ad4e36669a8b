package modeltest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// channel checks the replies to a request that gets more than one. All have the seq of the request.
type channel interface {
	// take checks a frame and reports whether it was the last. The connection's mu is held.
	take(typ byte, payload []byte) (over bool, err error)
	// next returns the frames that the host sends now, and the state of the channel. The
	// connection's mu is held.
	next() ([]byte, progress)
	// lost notes that the connection ended before the channel did. The connection's mu is not held.
	lost()
	String() string
}

// progress is the state of a channel.
type progress int

const (
	awaits progress = iota // the guest will send the next frame
	rests                  // no frame need come for a long time
	over
)

// text describes expected content without storing all of it.
type text struct {
	head   []byte
	period []byte // repeated after head, up to size
	size   int
}

func textOf(b []byte) text { return text{head: b, size: len(b)} }

// yesText returns line followed by the output of "yes word | head -c n".
func yesText(line, word string, n int) text {
	return text{head: []byte(line), period: []byte(word + "\n"), size: len(line) + n}
}

// has reports whether the text has b at that offset.
func (t text) has(at int, b []byte) bool {
	if at+len(b) > t.size {
		return false
	}
	if n := min(len(b), len(t.head)-at); n > 0 {
		if !bytes.Equal(b[:n], t.head[at:at+n]) {
			return false
		}
		b, at = b[n:], at+n
	}
	for len(b) > 0 {
		part := t.period[(at-len(t.head))%len(t.period):]
		n := min(len(part), len(b))
		if !bytes.Equal(b[:n], part[:n]) {
			return false
		}
		b, at = b[n:], at+n
	}
	return true
}

// grants chooses at random how much credit the host grants for a stream. The first grant lies
// between 0 and 2 GiB. Later grants double up to 1 MiB.
type grants struct {
	r       *rand.Rand
	step    int
	least   int // the smallest grant with which the stream continues
	granted int
	came    int
	acked   int  // bytes that the guest may assume have arrived
	careful bool // a grant acknowledges bytes, so it must not exceed those that came
}

// begin resets the counts and returns the credit to grant in the request itself.
func (g *grants) begin() int {
	g.granted, g.came, g.acked = 0, 0, 0
	g.step = []int{1, 7, 100, 4096, 64 << 10, 1 << 20, 1<<31 - 1}[g.r.IntN(7)]
	if g.r.IntN(3) > 0 {
		g.granted = g.step
	}
	return g.granted
}

// arrived counts n bytes of content and reports whether they were granted.
func (g *grants) arrived(n int) bool {
	g.came += n
	return g.came <= g.granted
}

// next returns the credit to grant now.
func (g *grants) next() (n int) {
	switch open := g.granted - g.came; {
	case g.careful && open > 0:
		// The guest limits a grant to the size of its buffer. The host must grant more before that
		// many bytes have come.
		if n = g.came - g.acked; n < min(g.step/2, maxOutput/2) && g.r.IntN(4) > 0 {
			return 0
		}
	case open < max(g.least, g.step/2), open == 0:
		n = max(g.step, g.least)
		if g.step < 1<<20 {
			g.step *= 2
		}
	}
	g.acked = min(g.acked+n, g.came)
	g.granted += n
	return n
}

// tend sends the frames of a connection's channels until no reply is owed and all channels rest. It
// stops after times sends, unless times is negative.
func (h *host) tend(c *conn, times int) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for times != 0 {
		frames, resting, changed := c.tended()
		if len(frames) > 0 {
			times--
			if err := h.sendMostly(c, frames); err != nil {
				return err
			}
			continue
		}
		if resting {
			return nil
		}
		select {
		case <-changed:
			limit.Reset(patience)
		case <-c.done:
			if !c.ending() {
				return fmt.Errorf("%s: it ended while channels were open", c.name)
			}
			return errEnded
		case <-h.m.failed:
			return errEnded
		case <-limit.C:
			return fmt.Errorf("%s: nothing came within %v; owed: %s", c.name, patience, c.owes())
		}
	}
	return nil
}

// sendMostly usually sends b in one write, because channels send much. Sometimes it sends b in
// pieces.
func (h *host) sendMostly(c *conn, b []byte) error {
	if h.r.IntN(8) == 0 {
		return h.send(c, b)
	}
	c.c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.c.Write(b); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// tended collects the frames that the channels send now. resting reports whether no reply is owed
// and no channel awaits a frame. changed is closed at the next change.
func (c *conn) tended() (frames []byte, resting bool, changed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	resting = len(c.pending) == 0
	for _, seq := range slices.Sorted(maps.Keys(c.channels)) {
		ch := c.channels[seq]
		if ch == nil {
			continue
		}
		b, how := ch.next()
		frames = append(frames, b...)
		if how == over {
			delete(c.channels, seq)
		}
		resting = resting && how != awaits
	}
	return frames, resting && len(c.pending) == 0, c.changed
}

// toChannel passes a frame to the channel with its seq, and reports whether there is one.
func (c *conn) toChannel(typ byte, seq uint32, payload []byte) (is bool, err error) {
	last := false
	c.note(func() {
		ch := c.channels[seq]
		if ch == nil {
			return
		}
		is = true
		if last, err = ch.take(typ, payload); err != nil {
			err = fmt.Errorf("%v: %w", ch, err)
		} else if last {
			delete(c.channels, seq)
		}
	})
	if last {
		c.m.replied()
	}
	return is, err
}
