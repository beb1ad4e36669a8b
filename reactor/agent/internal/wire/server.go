package wire

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

const (
	// BuffersPerConn is how many of the loop's buffers a connection may hold: one of input and
	// one of output. It bounds what is queued for a connection.
	BuffersPerConn = 2
	// silentGrace is how long a connection may say nothing before it has to make room for another,
	// when there are too many.
	silentGrace = 2 * time.Second
	// connGarbage is what a connection leaves, in bytes.
	connGarbage = 2 << 10
)

// Link is the way by which a connection came.
type Link interface {
	// Lost is told that connection id has ended. useful says whether it served the host, and guest
	// that its far end was another agent.
	Lost(id uint32, useful, guest bool)
	// Dialed reports whether the agent made connection id itself.
	Dialed(id uint32) bool
	// Vsock reports whether the connections lead to the machine's host by vsock.
	Vsock() bool
}

// Config is what a server is made of.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	// Conns is the most connections at a time. One more is told so and closed.
	Conns uint32
	// LastWords, unless it is empty, is all that a host is told, in an error frame.
	LastWords string
	// Changed is called when a connection has ended, or has sent all that it had to send.
	Changed func()
}

// Server holds the connections of an agent, and gives their frames to handlers.
type Server struct {
	Config
	mux    mux
	conns  []*Conn // in the order of their opening
	newest uint32  // id of the newest
	full   bool    // the log says that there are too many
	heard  bool    // a host has taken the last words

	opened, detached, closed []func(*Conn)
	redirected, first        []func()
}

// NewServer returns a server that handles what is about connections and channels, and nothing
// else yet.
func NewServer(cfg Config) *Server {
	s := &Server{Config: cfg}
	s.HandleEmpty(framing.TypeReady, meetGuest)
	s.handleChannels()
	return s
}

// OnOpen has f called for each connection before it is greeted.
func (s *Server) OnOpen(f func(*Conn)) { s.opened = append(s.opened, f) }

// OnFirst has f called before the first frame of each connection is handled.
func (s *Server) OnFirst(f func()) { s.first = append(s.first, f) }

// OnDetach has f called when a connection takes no more requests: what runs for it runs for no
// connection from then on. f may reply if the connection is still open. It may be called more
// than once.
func (s *Server) OnDetach(f func(*Conn)) { s.detached = append(s.detached, f) }

// OnClose has f called for each connection that has ended, and is not among the server's any more.
func (s *Server) OnClose(f func(*Conn)) { s.closed = append(s.closed, f) }

// OnRedirect has f called when [Server.Host] may have another answer than before.
func (s *Server) OnRedirect(f func()) { s.redirected = append(s.redirected, f) }

// Accept begins to serve a connected socket, which the server owns from now on. peer names the
// far end for the log. It returns nil if there are too many connections; the socket is closed
// then.
func (s *Server) Accept(fd int, by Link, peer string) *Conn {
	s.Garbage.Collect(connGarbage)
	if len(s.conns) >= int(s.Conns) && !s.makeRoom() {
		if !s.full {
			s.full = true // hosts that wait for a free one try again and again
			s.Log.Warn("too many connections", "peer", peer, "limit", sys.Num(s.Conns))
		}
		// Nothing was written to the socket yet, so it has room for this.
		words := framing.AppendFrame(nil, framing.TypeReady, 0, nil)
		unix.Write(fd, framing.AppendError(words, 0, "too many connections (limit "+sys.Num(s.Conns)+")"))
		unix.Close(fd)
		return nil
	}
	s.full = false
	s.newest++
	c := &Conn{server: s, link: by, id: s.newest}
	for _, f := range s.opened {
		f(c)
	}
	s.conns = append(s.conns, c)
	c.open(fd, peer)
	return c
}

// makeRoom closes the oldest connection that has never said anything, and reports whether there
// was one: idle connections must not keep a host out. A connection that has just come is given
// time. One that the agent made itself stays, because it would be made again.
func (s *Server) makeRoom() bool {
	for _, c := range s.conns {
		if reactor.Now()-c.born < silentGrace {
			break // those behind it are newer
		}
		dialed := c.link.Vsock() && c.link.Dialed(c.id)
		if !dialed && !c.useful && c.due == 0 {
			s.Log.Warn("connection closed to make room, it never said anything", "conn", sys.Num(c.id))
			c.Close()
			return true
		}
	}
	return false
}

// Host returns the connection for what its host did not ask for: c if it is not nil and open,
// else the newest open one, else nil.
func (s *Server) Host(c *Conn) *Conn {
	if c != nil && c.state == open {
		return c
	}
	for i := len(s.conns) - 1; i >= 0; i-- {
		if c := s.conns[i]; c.state == open && !c.guest {
			return c
		}
	}
	return nil
}

// redirect tells that Host may have another answer.
func (s *Server) redirect() {
	for _, f := range s.redirected {
		f()
	}
}

// Count returns how many connections there are, and how many of them lead to the machine's host.
func (s *Server) Count() (all, vsock int) {
	for _, c := range s.conns {
		if c.Vsock() {
			vsock++
		}
	}
	return len(s.conns), vsock
}

// All returns the connections, the oldest first. The slice is valid until one more opens or
// closes.
func (s *Server) All() []*Conn { return s.conns }

// Idle reports whether no host has anything more to take.
func (s *Server) Idle() bool {
	for _, c := range s.conns {
		if c.Busy() {
			return false
		}
	}
	return true
}

// Lingering reports whether the host of a connection may not have its last words yet.
func (s *Server) Lingering() bool {
	for _, c := range s.conns {
		if c.state == refused || c.state == lingering {
			return true
		}
	}
	return false
}

// Heard reports whether a host has taken the last words.
func (s *Server) Heard() bool { return s.heard }

// Drop gives up the requests and channels of all connections, and closes those that still have
// something to send.
func (s *Server) Drop() {
	for i := len(s.conns) - 1; i >= 0; i-- {
		if c := s.conns[i]; c.stream.Idle() {
			c.dropRequest()
			c.loseChannels()
		} else {
			c.Close()
		}
	}
}

// Close closes all connections.
func (s *Server) Close() {
	for len(s.conns) > 0 {
		s.conns[0].Close()
	}
}
