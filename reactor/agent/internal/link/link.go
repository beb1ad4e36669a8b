package link

import (
	"wick/reactor"
	"wick/reactor/agent/internal/log"
)

// Host serves the connections that links make.
type Host interface {
	// Accept serves a connected socket, which it owns from now on. peer names the far end for the
	// log. Accept returns an id of the connection, which is not 0. It returns id 0 if it does not
	// serve the connection, and open false as well if the connection has ended already.
	Accept(fd int, peer string, by Link) (id uint32, open bool)
}

// Link is a way in which the agent and its host connect.
type Link interface {
	// Open starts the link. After an error the link cannot be used, and the agent does not start.
	Open() error
	// Lost is called when a connection of this link has ended. useful says whether it served the
	// host, and guest whether its far end was another agent.
	Lost(id uint32, useful, guest bool)
	// Dialed reports whether the link made the connection itself.
	Dialed(id uint32) bool
	// Vsock reports whether the connections of this link lead to the machine's host by vsock.
	Vsock() bool
	// Close ends the link and removes the files that it created.
	Close()
}

// base has the fields of every link.
type base struct {
	host Host
	loop *reactor.Loop
	log  *log.Log
}
