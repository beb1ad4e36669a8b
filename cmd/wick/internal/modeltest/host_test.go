package modeltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wick/framing/wiretest"
)

// host plays one session after the other, each on a new connection. The seed alone determines its
// decisions.
type host struct {
	m     *model
	n     int
	r     *rand.Rand
	files []*file

	changed []*changed
}

// seq returns a number that no other request has on any connection.
func (h *host) seq() uint32 { return h.m.seqs.Add(1) }

// play plays that many sessions, or fewer if the model fails.
func (h *host) play(sessions int) {
	for range sessions {
		if h.m.hasFailed() {
			return
		}
		if err := h.session(); err != nil && !errors.Is(err, errEnded) {
			h.m.fail("host %d: %v", h.n, err)
			return
		}
	}
}

// session plays one connection from its ready to its end.
func (h *host) session() error {
	c, err := h.m.dial(fmt.Sprintf("connection %d of host %d", h.m.connNumber.Add(1), h.n))
	// Decide now, because later decisions must not depend on whether the connection is reset
	// meanwhile.
	batches, how, midFrame := 1+h.r.IntN(4), h.someEnd(), h.r.IntN(3) == 0
	plan, atOnce := newRand(h.r.Uint64(), h.r.Uint64()), h.r.IntN(8) == 0
	greets, patient, slow := h.r.IntN(5) < 3, h.r.IntN(3) > 0, 0
	if greets && h.r.IntN(4) == 0 {
		// Output under way is lost. A kept process sends it again.
		how, patient, slow = endHard, false, 1+someSize(h.r, 5000)
	}
	if err == nil && atOnce {
		// The connection may be closed before its ready comes.
		c.finish(endHard)
		return h.orderly(c, errEnded)
	}
	if err == nil {
		err = c.opened()
	}
	if err != nil {
		return err
	}
	session := *h
	session.r = plan
	c.greeting = greets
	for i := range batches {
		if err := session.batch(c, 1+plan.IntN(h.m.scale.batch)); err != nil {
			return h.orderly(c, err)
		}
		if plan.IntN(4) == 0 && greets && h.m.scale.hosts > 1 {
			if err := session.steal(c); err != nil {
				return err
			}
		}
		if plan.IntN(3) > 0 {
			times := -1
			if i == batches-1 && !patient {
				times = plan.IntN(30)
			}
			if i == batches-1 && slow > 0 {
				c.order(func() { c.chunk = slow })
			}
			if err := session.tend(c, times); err != nil {
				return h.orderly(c, err)
			}
		}
	}
	return h.orderly(c, session.leave(c, how, midFrame))
}

// orderly returns err, or errEnded if the connection was about to end anyway. It waits for that
// end, so that the host's next connection continues from everything that came here.
func (h *host) orderly(c *conn, err error) error {
	if err == nil || !c.ending() {
		return err
	}
	select {
	case <-c.done:
	case <-h.m.failed:
	case <-time.After(patience):
		return fmt.Errorf("%s: no end within %v of %v", c.name, patience, err)
	}
	return errEnded
}

func (h *host) someEnd() end {
	ends := []end{endHalf, endHalf, endHalf, endRefused, endDrain, endDrain, endReset, endReset, endHard}
	return ends[h.r.IntN(len(ends))]
}

// leave ends the connection and waits for the end.
func (h *host) leave(c *conn, how end, midFrame bool) error {
	var err error
	if how == endHalf && !h.m.target.exact() {
		err = c.settled()
	}
	switch {
	case err != nil:
	case how == endRefused:
		length := []uint32{0, 1, 4, wiretest.MaxLength + 1, 1 << 31, 1<<32 - 1}[h.r.IntN(6)]
		bytes := append(binary.BigEndian.AppendUint32(nil, length), noise(h.r, h.r.IntN(20))...)
		if floods := h.r.IntN(2) == 0; c.greeted && floods {
			bytes, err = h.flood(c)
		}
		if err == nil && c.expect(endRefused) {
			err = h.send(c, bytes)
		}
	case midFrame:
		// An incomplete frame is no request and must leave no trace.
		f := h.cutOff()
		err = h.send(c, f)
		fallthrough
	default:
		c.finish(how)
	}
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-h.m.failed:
		return errEnded
	case <-time.After(patience):
		return fmt.Errorf("%s: no end within %v of %v; owed: %s", c.name, patience, how, c.owes())
	}
}

// cutOff returns the beginning of a frame. The complete frame would leave a trace.
func (h *host) cutOff() []byte {
	evil := h.m.dir + "/evil"
	var f []byte
	switch h.r.IntN(4) {
	case 0:
		f = wiretest.Raw(wiretest.Exec, h.seq(), execPayload(0, "echo evil >"+evil, false, nil))
	case 1:
		f = wiretest.Raw(wiretest.SpawnWatch, h.seq(),
			execPayload(0, "echo evil >"+evil+"; : "+string(make([]byte, 100<<10)), true, nil))
	default:
		path := evil
		if h.r.IntN(2) == 0 {
			path = h.files[h.r.IntN(len(h.files))].path
		}
		f = wiretest.Make(wiretest.WriteFile, h.seq(), path, 0, noise(h.r, 1+someSize(h.r, 300<<10)))
	}
	return f[:1+h.r.IntN(len(f)-1)]
}

// batch sends n random requests. It may pause reading, or read few bytes at a time.
func (h *host) batch(c *conn, n int) error {
	var bytes []byte
	var requests []*request
	if c.greeting && !c.greeted {
		n++
	}
	for range n {
		q := h.request(c)
		requests = append(requests, q)
		bytes = append(bytes, q.frame...)
		q.frame = nil
	}
	if err := c.owe(requests...); err != nil {
		return err
	}
	switch h.r.IntN(8) {
	case 0: // stop reading for a while
		pause := time.Duration(1+h.r.IntN(200)) * time.Millisecond
		c.order(func() {
			select {
			case <-time.After(pause):
			case <-c.last:
			}
		})
	case 1:
		few := 1 + h.r.IntN(3)
		c.order(func() { c.chunk = few })
		defer c.order(func() { c.chunk = 64 << 10 })
	}
	return h.send(c, bytes)
}

// send writes b at once or in pieces of random sizes.
func (h *host) send(c *conn, b []byte) error {
	c.c.SetWriteDeadline(time.Now().Add(patience))
	piece := func() int { return len(b) }
	switch h.r.IntN(6) {
	case 0:
		piece = func() int { return 1 }
	case 1:
		piece = func() int { return 1 + h.r.IntN(16) }
	case 2:
		most := 1 + h.r.IntN(20000)
		piece = func() int { return 1 + h.r.IntN(most) }
	case 3:
		size := 64<<10 - 1 + h.r.IntN(3)
		piece = func() int { return size }
	}
	const maxPieces = 1000 // the rest goes at once
	for n := 0; len(b) > 0; n++ {
		size := len(b)
		if n < maxPieces {
			size = min(size, piece())
		}
		if _, err := c.c.Write(b[:size]); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		b = b[size:]
	}
	return nil
}

// request makes a random request. The first is a hello if the host wants the extension.
func (h *host) request(c *conn) *request {
	switch {
	case c.greeting && !c.greeted:
		return h.hello(c)
	case c.greeted && h.r.IntN(5) < 3:
		return h.extended(c)
	}
	switch n := h.r.IntN(100); {
	case n < 20:
		return h.ping()
	case n < 45:
		return h.exec()
	case n < 60:
		return h.spawn(c)
	case n < 78:
		return h.write(c)
	case n < 84:
		return h.read(c)
	case n < 89:
		return h.unknownType(c)
	case n < 97:
		return h.malformed()
	case n < 99 || h.r.IntN(h.m.scale.rareSync) > 0:
		return h.report()
	default:
		return h.shutdown()
	}
}
