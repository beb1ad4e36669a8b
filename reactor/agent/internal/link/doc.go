// Package link finds the host: a [Path] where a Unix socket is met, a [Dial] to the host over vsock,
// and a [Listen] for it. A link makes connected sockets, and gives them to a [Host] that serves them.
// It tries again for ever, backing off between 10 ms and a second.
//
// It knows nothing of what is said on a connection. It imports package reactor, and the rooms log
// and sys.
package link
