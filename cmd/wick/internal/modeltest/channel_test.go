package modeltest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// channel is what more than one frame of the guest's is owed for, all with the seq of the request that opened it.
type channel interface {
	// take judges a frame, and says whether it was the last. The connection's mu is held.
	take(typ byte, payload []byte) (over bool, err error)
	// next is what the host has to say now, and whether there is something to wait for. The connection's mu is held.
	next() ([]byte, progress)
	// lost is told that the connection ended before the channel did. The connection's mu is not held.
	lost()
	String() string
}

// progress is how a channel stands.
type progress int

const (
	awaits progress = iota // the guest's next word will come by itself
	rests                  // it may stay as it is, for long
	over
)

// text is what is written, without the room that it would take.
type text struct {
	head   []byte
	period []byte // what follows, over and over
	size   int
}

func textOf(b []byte) text { return text{head: b, size: len(b)} }

// yesText is a line, and then what "yes word | head -c n" writes.
func yesText(line, word string, n int) text {
	return text{head: []byte(line), period: []byte(word + "\n"), size: len(line) + n}
}

// has reports whether b stands there at that offset.
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

// grants are what the host grants of a stream, by whim: much at once, or so little that each byte is asked for, and then more and more.
type grants struct {
	r       *rand.Rand
	step    int
	least   int // that is granted at least, so that it goes on
	granted int
	came    int
	acked   int  // what the guest may take for arrived
	careful bool // a grant says that bytes arrived, and so must not say it too early
}

// begin is the credit of the request itself.
func (g *grants) begin() int {
	g.granted, g.came, g.acked = 0, 0, 0
	g.step = []int{1, 7, 100, 4096, 64 << 10, 1 << 20, 1<<31 - 1}[g.r.IntN(7)]
	if g.r.IntN(3) > 0 {
		g.granted = g.step
	}
	return g.granted
}

// arrived is told of content, and reports whether it was granted.
func (g *grants) arrived(n int) bool {
	g.came += n
	return g.came <= g.granted
}

// next is what is granted now.
func (g *grants) next() (n int) {
	switch open := g.granted - g.came; {
	case g.careful && open > 0:
		// The guest cuts what it is granted to what it can hold, so this must come before all of that has.
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

// tend says what the channels of a connection have to say, until nothing is owed and they all rest, or until it was said so many times.
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

// sendMostly sends, most times as a whole: there is much of it.
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

// tended is what the channels have to say.
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

// toChannel hands a frame to the channel that it is about, and reports whether there is one.
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
