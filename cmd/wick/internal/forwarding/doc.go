// Package forwarding passes connections on between this machine and a guest. It parses how a user
// writes a forward (spec.go) or a published port (published.go). A [Forwarder] listens, connects,
// and relays until both sides have ended (relay.go). It may also be a SOCKS5 proxy (socks.go).
package forwarding
