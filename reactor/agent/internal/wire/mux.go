package wire

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// lastExtended is the highest type of the extension.
const lastExtended framing.Type = 0x5F

// Handler serves the frames of one type. It replies itself, now or later. An error says that the
// payload cannot be parsed, and is sent as an error reply. p and its data are valid only during
// the call.
type Handler func(c *Conn, p *framing.Part) error

// ErrUnknown is returned by a handler whose frame is to be answered as one of an unknown type.
var ErrUnknown = errors.New("unknown message type")

// route is the handler of a type.
type route struct {
	handle Handler
	shape  shape
}

// shape is how the payloads of a type come to its handler. A payload longer than the decoder's
// window comes in parts.
type shape uint8

const (
	// short: the handler gets whole payloads. A longer one is refused.
	short shape = iota
	// ignored: the handler does not look at the payload, and is called once at its end.
	ignored
	// parts: the handler is called for each part.
	parts
)

// mux has the handlers by type.
type mux struct {
	index  [256]uint8 // of routes, plus 1
	routes []route
}

func (m *mux) add(t framing.Type, h Handler, s shape) {
	m.routes = append(m.routes, route{h, s})
	m.index[t] = uint8(len(m.routes))
}

// find returns the route of a type, or nil.
func (m *mux) find(t framing.Type) *route {
	if i := m.index[t]; i > 0 {
		return &m.routes[i-1]
	}
	return nil
}

// Handle registers the handler of a type whose payloads are short. Types of the extension reach
// it only on connections that have said hello.
func (s *Server) Handle(t framing.Type, h Handler) { s.mux.add(t, h, short) }

// HandleEmpty registers the handler of a type whose payload is ignored, whatever its length.
func (s *Server) HandleEmpty(t framing.Type, h Handler) { s.mux.add(t, h, ignored) }

// HandleParts registers the handler of a type whose payloads may be long: it is called for each
// part.
func (s *Server) HandleParts(t framing.Type, h Handler) { s.mux.add(t, h, parts) }

// dispatch gives a part to the handler of its type.
func (c *Conn) dispatch(p *framing.Part) {
	whole := p.First() && p.Last()
	r := c.route(p.Type, whole)
	var err error
	switch {
	case r != nil && (whole || r.shape == parts || r.shape == ignored && p.Last()):
		err = r.handle(c, p)
	case !p.Last():
		return
	case r == nil:
		err = ErrUnknown
	default:
		err = errors.New(p.Type.String() + ": payload is long")
	}
	switch {
	case err == ErrUnknown:
		c.Error(p.Seq, unknownType(p.Type))
	case err != nil:
		c.Error(p.Seq, err.Error())
	}
}

// route returns how a type is served, or nil if it is not. Before a hello the extension's types
// are unknown, and so is a hello that is long.
func (c *Conn) route(t framing.Type, whole bool) *route {
	extension := t >= framing.TypeHello && t <= lastExtended
	if extension && !c.extended && !(t == framing.TypeHello && whole) {
		return nil
	}
	return c.server.mux.find(t)
}

func unknownType(t framing.Type) string {
	const digits = "0123456789ABCDEF"
	return string(append([]byte("unknown message type 0x"), digits[t>>4], digits[t&15]))
}

// MaxGathered is the longest payload that [Conn.Gather] puts together, in bytes. The kernel takes
// 128 KiB for an argument and for each entry of the environment.
const MaxGathered = 256 << 10

// Request is what is held of a request whose payload is still coming.
type Request interface {
	// Drop releases it, because the payload will not be whole.
	Drop()
}

// gathered is a payload that is being put together, in memory of its own: it comes page by page
// as bytes do, and is gone afterwards.
type gathered []byte

// Drop implements [Request].
func (g gathered) Drop() {
	if g != nil {
		unix.Munmap(g)
	}
}

// Gather puts the parts of a payload of at most MaxGathered bytes together. When it is whole it
// calls f with all of it, which is not valid afterwards; with nil if there is no memory.
func (c *Conn) Gather(p *framing.Part, f func(payload []byte)) {
	if p.First() {
		long, err := unix.Mmap(-1, 0, MaxGathered, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			long = nil
		}
		c.Request = gathered(long)
	}
	g, _ := c.Request.(gathered)
	if g != nil {
		copy(g[p.Offset:], p.Data)
	}
	if !p.Last() {
		return
	}
	if g == nil {
		f(nil)
	} else {
		f(g[:p.Size])
	}
	c.dropRequest()
}

// dropRequest undoes what was begun of a request that will not be whole.
func (c *Conn) dropRequest() {
	if r := c.Request; r != nil {
		c.Request = nil
		r.Drop()
	}
}

// meetGuest handles a ready. A far end that begins with one is an agent, as when two are started
// at one path: the one that dialled leaves, and the other tells it nothing that is meant for a
// host. Otherwise ready is a type that only a guest may send.
func meetGuest(c *Conn, p *framing.Part) error {
	if !c.answered && p.Seq == 0 && p.Size == 0 {
		c.guest = true
		c.greeting.Stop()
		if !c.link.Vsock() && c.link.Dialed(c.id) {
			c.Close()
			return nil
		}
	}
	return ErrUnknown
}

// inputError is more input than was granted. It is not known where the rest of it belongs, so the
// connection cannot be used any more.
type inputError uint32

func (e inputError) Error() string { return "more input than credit, seq " + sys.Num(uint32(e)) }
