package modeltest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// featurePressure is the feature bit for pressure in a hello_result.
const featurePressure = 1 << 4

// pressured is the channel of a pressure. The host closes it at once or leaves it open. Figures
// under way may still come after the close.
type pressured struct {
	c      *conn
	seq    uint32
	leaves bool // the host closes it
	opened bool
	closed bool
}

func (p *pressured) String() string { return fmt.Sprintf("seq %d, pressure", p.seq) }
func (p *pressured) lost()          {}

// take implements [channel].
func (p *pressured) take(typ byte, payload []byte) (over bool, err error) {
	if p.opened {
		if _, err := wiretest.Parse(typ, payload); err != nil || typ != wiretest.Figures {
			return false, fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
		}
		return false, nil
	}
	d, err := parseDone(typ, payload)
	switch has := p.c.features&featurePressure != 0; {
	case err != nil:
		return false, err
	case d.errno == 0 && has:
		p.opened = true
		return false, nil
	case d.errno == unix.EMFILE && has, d.errno != 0 && !has:
		return true, nil
	}
	return false, fmt.Errorf("errno %d (%v), features %b", d.errno, d.errno, p.c.features)
}

// next implements [channel].
func (p *pressured) next() ([]byte, progress) {
	switch {
	case !p.opened:
		return nil, awaits
	case p.leaves && !p.closed:
		p.closed = true
		return wiretest.Make(wiretest.Close, p.seq, 0), rests
	}
	return nil, rests
}

// pressure makes a pressure for a stall that seldom happens.
func (h *host) pressure(c *conn) *request {
	p := &pressured{c: c, seq: h.seq(), leaves: h.r.IntN(3) > 0}
	return &request{what: "pressure", seq: p.seq, channel: p,
		frame: wiretest.Make(wiretest.Pressure, p.seq, h.r.IntN(3), 1_900_000, 2_000_000)}
}
