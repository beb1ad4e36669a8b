package link

import (
	"wick/reactor"
	"wick/reactor/agent/internal/log"
)

// Host serves the connections that links make.
type Host interface {
	// Accept serves a connected socket, which it owns from now on. peer names the far end for the
	// log. The host knows the connection by id, which is not 0. It returns id 0 if it does not serve
	// the connection, and open false too if the connection has ended already.
	Accept(fd int, peer string, by Link) (id uint32, open bool)
}

// Link is one way in which agent and host find each other.
type Link interface {
	// Open begins. After an error the way cannot be used, and the agent does not start.
	Open() error
	// Lost is told that a connection of this link has ended. useful says whether it served the host,
	// and guest that its far end was another agent.
	Lost(id uint32, useful, guest bool)
	// Dialed reports whether the link made the connection itself.
	Dialed(id uint32) bool
	// Vsock reports whether the connections of this link lead to the machine's host by vsock.
	Vsock() bool
	// Close ends the link, and removes what it created.
	Close()
}

// base is what every link has.
type base struct {
	host Host
	loop *reactor.Loop
	log  *log.Log
}
