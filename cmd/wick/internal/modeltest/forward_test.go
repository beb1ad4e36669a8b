package modeltest

import (
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// loop is the channel of a listen. The host connects to that listen itself, so both ends of the
// connection are its own: it checks all bytes in both directions.
type loop struct {
	c       *conn
	h       *host
	seq     uint32
	r       *rand.Rand
	network int
	address string // that listening told
	id      []byte // of the incoming, as in the payload
	ends    [2]*loopEnd
	closed  bool
}

// loopEnd is the channel of one end of the connection.
type loopEnd struct {
	loop  *loop
	seq   uint32
	other *loopEnd
	out   grants
	open  bool
	says  text // to be sent to the other end
	sent  int
	may   int // bytes that the guest has granted
	ended bool
	deaf  bool // the guest has closed stream 0
	came  int
	whole bool // the guest has closed stream 1
	stop  int  // offset at which the host closes both streams, or -1
	over  bool
}

func (l *loop) String() string {
	text := fmt.Sprintf("seq %d, listen on %q", l.seq, l.address)
	for _, e := range l.ends {
		if e != nil {
			text += ", " + e.String()
		}
	}
	return text
}

func (l *loop) lost() {}

// take implements [channel].
func (l *loop) take(typ byte, payload []byte) (over bool, err error) {
	in, err := wiretest.Parse(typ, payload)
	switch {
	case err != nil:
		return false, err
	case typ == wiretest.Listening && l.address == "":
		l.address = in.Text("address")
		return false, nil
	case typ == wiretest.Incoming && l.ends[0] != nil && l.id == nil:
		l.id = payload[:8:8]
		l.id = append([]byte{}, l.id...)
		return false, nil
	case typ == wiretest.Done && l.closed && in.Int("errno") == 0:
		return true, nil
	}
	return false, fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
}

// next implements [channel].
func (l *loop) next() (frames []byte, how progress) {
	if l.address != "" && l.ends[0] == nil {
		e := l.newEnd()
		l.ends[0] = e
		frames = wiretest.Make(wiretest.Connect, e.seq, l.network, 60_000, e.out.begin(), l.address)
	}
	if l.id != nil && l.ends[1] == nil {
		e := l.newEnd()
		e.other, l.ends[0].other, l.ends[1] = l.ends[0], e, e
		frames = append(frames, wiretest.Raw(wiretest.Accept, e.seq, append(l.id,
			wiretest.Payload(wiretest.Credit, 0, e.out.begin())[1:]...))...)
	}
	// The listen ends before the connection does, or after it.
	done := l.ends[1] != nil && (l.ends[0].over && l.ends[1].over || l.ends[1].open && l.seq%2 == 0)
	if done && !l.closed {
		l.closed = true
		frames = append(frames, wiretest.Make(wiretest.Close, l.seq, 0)...)
	}
	return frames, awaits
}

// newEnd makes an end and its channel.
func (l *loop) newEnd() *loopEnd {
	e := &loopEnd{loop: l, seq: l.h.m.seqs.Add(1), out: grants{r: l.r}, stop: -1}
	e.says = yesText("", fmt.Sprint("loop", e.seq), someSize(l.r, l.h.m.scale.output))
	if l.r.IntN(5) == 0 {
		e.stop = l.r.IntN(e.says.size + 1)
	}
	l.c.channels[e.seq] = e
	return e
}

func (e *loopEnd) String() string {
	return fmt.Sprintf("seq %d: %d of %d sent, %d granted, %d came, ended %v, deaf %v, whole %v, stop %d", e.seq, e.sent, e.says.size,
		e.may, e.came, e.ended, e.deaf, e.whole, e.stop)
}

func (e *loopEnd) lost() {}

// stopped reports whether either end was closed before the bytes ended.
func (e *loopEnd) stopped() bool { return e.stop >= 0 || e.other == nil || e.other.stop >= 0 }

// take implements [channel].
func (e *loopEnd) take(typ byte, payload []byte) (over bool, err error) {
	in, err := wiretest.Parse(typ, payload)
	if err != nil {
		return false, err
	}
	wrong := fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
	if !e.open && typ != wiretest.Done {
		if typ != wiretest.Connected || in.Int("credit") != inputWindow {
			return false, wrong
		}
		e.open, e.may = true, inputWindow
		return false, nil
	}
	switch typ {
	case wiretest.Output:
		data := in.Get("data").Text
		switch {
		case in.Int("stream") != 1 || len(data) == 0 || len(data) > maxStreamed || e.whole || e.other == nil:
			return false, wrong
		case !e.out.arrived(len(data)):
			return false, fmt.Errorf("output beyond the credit, by %d", e.out.came-e.out.granted)
		case !e.other.says.has(e.came, data):
			return false, fmt.Errorf("%s at %d", wiretest.Brief(data), e.came)
		}
		e.came += len(data)
		return false, nil
	case wiretest.Credit:
		if e.may += in.Int("bytes"); in.Int("stream") != 0 || e.may > inputWindow {
			return false, wrong
		}
		return false, nil
	case wiretest.Close:
		switch {
		case in.Int("stream") == 0 && !e.deaf && e.stopped():
			e.deaf = true
		case in.Int("stream") == 1 && !e.whole && (e.stopped() || e.came == e.other.says.size):
			e.whole = true
		default:
			return false, wrong
		}
		return false, nil
	case wiretest.Done:
		e.over = true
		if errno := unix.Errno(in.Int("errno")); errno != 0 {
			if !e.stopped() || errno != unix.ECONNRESET && errno != unix.EPIPE && errno != unix.ETIMEDOUT {
				return false, fmt.Errorf("done with %v", errno)
			}
			return true, nil
		}
		if !e.whole || !e.ended && !e.deaf && !e.stopped() {
			return false, fmt.Errorf("done before the end of both streams; %v", e.loop)
		}
		return true, nil
	}
	return false, wrong
}

// next implements [channel].
func (e *loopEnd) next() (b []byte, how progress) {
	r := e.loop.r
	if e.open && !e.ended {
		for e.sent < e.says.size && e.may > 0 && e.sent != e.stop {
			n := min(e.may, e.says.size-e.sent)
			if r.IntN(2) == 0 {
				n = 1 + r.IntN(n)
			}
			if e.stop > e.sent {
				n = min(n, e.stop-e.sent)
			}
			b = append(b, wiretest.Raw(wiretest.Input, e.seq, e.says.part(e.sent, n))...)
			e.sent += n
			e.may -= n
		}
		switch {
		case e.sent == e.stop:
			e.ended = true
			b = append(b, wiretest.Make(wiretest.Close, e.seq, 1)...)
			b = append(b, wiretest.Make(wiretest.Close, e.seq, 0)...)
		case e.sent == e.says.size:
			e.ended = true
			b = append(b, wiretest.Make(wiretest.Close, e.seq, 0)...)
		}
	}
	if !e.open {
		return b, awaits
	}
	if n := e.out.next(); n > 0 {
		b = append(b, wiretest.Make(wiretest.Credit, e.seq, 1, n)...)
	}
	return b, awaits
}

// part returns n bytes of the text from that offset on.
func (t text) part(at, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		if at < len(t.head) {
			b = append(b, t.head[at])
		} else {
			b = append(b, t.period[(at-len(t.head))%len(t.period)])
		}
		at++
	}
	return b
}

// forward makes a listen, on a TCP port, a Unix path or an abstract name.
func (h *host) forward(c *conn) *request {
	l := &loop{c: c, h: h, seq: h.seq(), r: newRand(h.r.Uint64(), 2), network: 2}
	// A file that is left behind is seen as a temporary one.
	at := fmt.Sprintf("%s/.wick-listen-%d", h.m.dir, l.seq)
	switch h.r.IntN(3) {
	case 0:
		l.network, at = 1, "127.0.0.1:0"
	case 1:
		at = "@" + h.m.dir + at
	}
	return &request{what: "listen", seq: l.seq, channel: l, frame: wiretest.Make(wiretest.Listen, l.seq, l.network, at)}
}

// unreachable makes a connect or listen that fails.
func (h *host) unreachable() *request {
	seq := h.seq()
	q := &request{what: "connect or listen that fails", seq: seq, prompt: true}
	switch h.r.IntN(4) {
	case 0:
		q.frame = wiretest.Make(wiretest.Connect, seq, 3, 0, 0, "127.0.0.1:53")
		q.check = wantDone(unix.EPROTONOSUPPORT)
	case 1:
		q.frame = wiretest.Make(wiretest.Listen, seq, 1, "no"+string(yes("x", someSize(h.r, 1000)))+":0")
		q.check = wantDone(unix.EINVAL, unix.EADDRNOTAVAIL)
	case 2:
		q.frame = wiretest.Make(wiretest.Connect, seq, 2, 0, 0, h.m.dir+"/none")
		q.check = wantDone(unix.ENOENT)
	case 3:
		q.frame = wiretest.Make(wiretest.Accept, seq, h.r.Uint64()|1<<63, 0)
		q.check = wantDone(unix.ENOENT)
	}
	return q
}

// portsWatch is the channel of a ports that watches. Other programs on the machine may open ports
// at any time.
type portsWatch struct {
	c      *conn
	seq    uint32
	leaves bool // the host closes it
	opened bool
	closed bool
}

func (p *portsWatch) String() string { return fmt.Sprintf("seq %d, watch of ports", p.seq) }
func (p *portsWatch) lost()          {}

// take implements [channel].
func (p *portsWatch) take(typ byte, payload []byte) (over bool, err error) {
	in, err := wiretest.Parse(typ, payload)
	switch {
	case err != nil:
		return false, err
	case typ == wiretest.PortList:
		p.opened = true
		return false, nil
	case typ == wiretest.Done && p.closed && in.Int("errno") == 0:
		return true, nil
	case typ == wiretest.Done && !p.opened && unix.Errno(in.Int("errno")) == unix.ENOENT:
		return true, nil // a kernel without sock_diag
	}
	return false, fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
}

// next implements [channel].
func (p *portsWatch) next() ([]byte, progress) {
	switch {
	case !p.opened:
		return nil, awaits
	case p.closed:
		return nil, awaits
	case p.leaves:
		p.closed = true
		return wiretest.Make(wiretest.Close, p.seq, 0), awaits
	}
	return nil, rests
}

func (h *host) ports(c *conn) *request {
	p := &portsWatch{c: c, seq: h.seq(), leaves: h.r.IntN(3) > 0}
	return &request{what: "ports", seq: p.seq, channel: p, frame: wiretest.Make(wiretest.Ports, p.seq, 1)}
}
