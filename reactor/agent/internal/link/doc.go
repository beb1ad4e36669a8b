// Package link connects the agent and its host. A [Path] is a Unix socket at which they meet, a
// [Dial] connects to the host over vsock, and a [Listen] waits for it there. A link passes
// connected sockets to a [Host], which serves them. It retries for ever, and backs off between 10
// ms and a second.
//
// It does not know what a connection carries. It imports package reactor, and the rooms log and
// sys.
package link
