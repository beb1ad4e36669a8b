// Package forward connects a host to the guest's own network: it connects and listens there for the
// host, carries the bytes of each connection as a channel, and lists the ports that listen.
// framing/extension.md has the protocol.
//
// A [Service] registers the requests. Each forwarded connection is a [link]: a socket on the loop
// whose bytes go straight into the host connection's buffer, within the credit that the host
// granted. Bytes of the host that the socket does not take at once wait in a buffer of a pool. An
// idle link holds no buffer.
package forward
