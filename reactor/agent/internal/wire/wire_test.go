package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/wire"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The types that the tests have handlers for. Only the last ones are of the extension.
const (
	typeShort framing.Type = 0x60 + iota
	typeIgnored
	typeParts
	typeGathered
	typeFails
	typeUnknown
	typePanics
	typeNobodys
	typeLong
	typeExtended = framing.TypePower
)

// calls counts the calls of handlers, by type, and the bytes that they got.
type calls struct {
	n, bytes [256]int
	gathered []byte
}

func newRoom(t *testing.T) (*roomtest.Room, *calls) {
	got := &calls{}
	count := func(c *wire.Conn, p *framing.Part) error {
		got.n[p.Type]++
		got.bytes[p.Type] += len(p.Data)
		if p.Last() {
			c.ReplyEmpty(framing.TypePong, p.Seq)
		}
		return nil
	}
	fail := func(err error) wire.Handler { return func(*wire.Conn, *framing.Part) error { return err } }
	r := roomtest.New(t, func(r *roomtest.Room) (end func()) {
		s := r.Server
		s.Handle(typeShort, count)
		s.HandleEmpty(typeIgnored, count)
		s.HandleParts(typeParts, count)
		s.HandleParts(typeGathered, func(c *wire.Conn, p *framing.Part) error {
			c.Gather(p, func(payload []byte) {
				got.gathered = bytes.Clone(payload)
				c.ReplyEmpty(framing.TypePong, p.Seq)
			})
			return nil
		})
		s.Handle(typeFails, fail(errors.New("for a test")))
		s.Handle(typeUnknown, fail(wire.ErrUnknown))
		s.Handle(typePanics, func(*wire.Conn, *framing.Part) error { panic("for a test") })
		s.Handle(typeLong, func(c *wire.Conn, p *framing.Part) error {
			c.ReplyLater(framing.AppendFrame(nil, framing.TypePong, p.Seq, make([]byte, longReply)))
			return nil
		})
		s.Handle(typeExtended, count)
		s.Handle(framing.TypeHello, func(c *wire.Conn, p *framing.Part) error { c.Extend(); return count(c, p) })
		return func() {}
	})
	return r, got
}

// longReply is more than a buffer holds, in bytes.
const longReply = 3*reactor.BufferSize + 1

// TestLongReply has a handler reply with a frame that is longer than a buffer.
func TestLongReply(t *testing.T) {
	t.Parallel()
	r, _ := newRoom(t)
	h := dial(r)
	h.Send(roomtest.Frame(typeLong, 1))
	if got := h.Want(framing.TypePong, 1); len(got) != longReply {
		t.Errorf("the reply has %d bytes, want %d", len(got), longReply)
	}
	h.Send(roomtest.Frame(typeIgnored, 2))
	h.Want(framing.TypePong, 2)
}

// dial connects a host that has not said hello.
func dial(r *roomtest.Room) *roomtest.Host {
	h := roomtest.Dial(r.T, func(fd int) { r.Do(func() { r.Server.Accept(fd, new(roomtest.Link), "test") }) })
	h.Want(framing.TypeReady, 0)
	return h
}

// TestDispatch sends a payload that fits the decoder's window, and one that comes in parts, to
// a handler of each shape. A wrong one is answered by one error, and the connection lives on.
func TestDispatch(t *testing.T) {
	t.Parallel()
	const long = 3 * reactor.BufferSize
	r, got := newRoom(t)
	h := dial(r)
	for seq, x := range []struct {
		name  string
		t     framing.Type
		size  int
		err   string // the error's text, or empty for a pong
		calls int    // at least
		bytes int
	}{
		{"short", typeShort, 100, "", 1, 100},
		{"short, without payload", typeShort, 0, "", 1, 0},
		{"short, with a long payload", typeShort, long, ": payload is long", 0, 0},
		{"ignored", typeIgnored, 100, "", 1, 100},
		{"ignored, with a long payload", typeIgnored, long, "", 1, -1},
		{"parts", typeParts, 100, "", 1, 100},
		{"parts, with a long payload", typeParts, long, "", 2, long},
		{"a handler that fails", typeFails, 0, "for a test", 0, 0},
		{"a handler that does not know the type", typeUnknown, 0, "unknown message type 0x65", 0, 0},
		{"no handler", typeNobodys, 0, "unknown message type 0x67", 0, 0},
		{"no handler, with a long payload", typeNobodys, long, "unknown message type 0x67", 0, 0},
		{"the extension before a hello", typeExtended, 0, "unknown message type 0x3E", 0, 0},
		{"a long hello", framing.TypeHello, long, "unknown message type 0x20", 0, 0},
		{"a hello", framing.TypeHello, 2, "", 1, 2},
		{"the extension after a hello", typeExtended, 0, "", 1, 0},
		{"a long hello after a hello", framing.TypeHello, long, ": payload is long", 0, 0},
	} {
		r.Do(func() { *got = calls{} })
		h.Send(framing.AppendFrame(nil, x.t, uint32(seq), make([]byte, x.size)))
		if x.err != "" {
			h.WantError(uint32(seq), x.err)
		} else {
			h.Want(framing.TypePong, uint32(seq))
		}
		r.Do(func() {
			n, bytes := got.n[x.t], got.bytes[x.t]
			more := n > x.calls && (x.t != typeParts || x.calls == 0) // parts may be many
			if n < x.calls || more || x.bytes >= 0 && bytes != x.bytes {
				t.Errorf("%s: %d calls with %d bytes, want %d with %d", x.name, n, bytes, x.calls, x.bytes)
			}
		})
	}
}

// TestGather puts a payload together that comes in parts. One that is lost in the middle calls
// nothing.
func TestGather(t *testing.T) {
	t.Parallel()
	r, got := newRoom(t)
	payload := make([]byte, wire.MaxGathered)
	for i := range payload {
		payload[i] = byte(i * i >> 4)
	}
	frame := framing.AppendFrame(nil, typeGathered, 1, payload)
	lost, h := dial(r), dial(r)
	lost.Send(frame[:len(frame)-1])
	lost.Close()
	r.Lost(1)
	h.Send(frame)
	h.Want(framing.TypePong, 1)
	r.Do(func() {
		if !bytes.Equal(got.gathered, payload) {
			t.Errorf("gathered %d bytes, want the %d that were sent", len(got.gathered), len(payload))
		}
	})
}

// TestPanic has a handler panic. It costs the connection, and no other.
func TestPanic(t *testing.T) {
	t.Parallel()
	r, _ := newRoom(t)
	other, h := dial(r), dial(r)
	h.Send(roomtest.Frame(typePanics, 1))
	h.WantEnd()
	other.Ping(1)
	r.Lost(1)
}

// TestSilentConnections has connections that never say anything hold all places. The oldest of
// them makes room for a host that comes later, and only once it has had time to speak.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	r, _ := newRoom(t)
	hosts := make([]*roomtest.Host, r.Server.Conns)
	for i := range hosts {
		hosts[i] = dial(r)
	}
	hosts[0].Ping(1)
	r.Do(func() {
		for _, c := range r.Server.All()[:2] {
			c.Age(wire.SilentGrace)
		}
		for _, c := range r.Server.All()[2:] {
			c.Age(-roomtest.Patience) // however slow the machine is
		}
	})
	dial(r).Ping(1)
	hosts[1].WantEnd()
	late := dial(r)
	late.WantError(0, "too many connections")
	late.WantEnd()
	hosts[0].Ping(2)
	hosts[2].Ping(1)
}
