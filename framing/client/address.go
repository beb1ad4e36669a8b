package client

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
)

// DefaultPort is the vsock port at which guests and hosts meet.
const DefaultPort = 1000

// maxUnixPath is the longest path of a Unix socket in bytes; a NUL follows it in the address.
const maxUnixPath = 107

// kind is the way an address reaches the guest.
type kind string

const (
	kindUnix              kind = "unix"
	kindUnixListen        kind = "unix-listen"
	kindFirecracker       kind = "firecracker"
	kindFirecrackerListen kind = "firecracker-listen"
	kindVsock             kind = "vsock"
	kindTCP               kind = "tcp"
	kindFirecrackerTCP    kind = "firecracker-tcp"
)

// Forms has the forms of addresses, for help texts.
var Forms = []string{
	"unix:PATH", "unix-listen:PATH", "firecracker:UDS[:PORT]", "firecracker-listen:UDS[:PORT]", "vsock:CID[:PORT]",
	"tcp:HOST:TCPPORT", "firecracker-tcp:HOST:TCPPORT[:PORT]",
}

// address is a parsed address.
type address struct {
	text string // as it was given
	kind kind
	path string // the Unix socket to connect to or listen at, or the TCP address HOST:PORT
	cid  uint32
	port uint32
}

// listens reports whether the guest is the one that connects.
func (a *address) listens() bool { return a.kind == kindUnixListen || a.kind == kindFirecrackerListen }

// parseAddress parses one of the forms. Its error is an *AddrError.
func parseAddress(text string) (*address, error) {
	name, rest, found := strings.Cut(text, ":")
	a := &address{text: text, kind: kind(name), port: DefaultPort}
	if !found {
		return nil, a.errorf("no such form (want %s)", strings.Join(Forms, ", "))
	}
	var err error
	switch a.kind {
	case kindUnix, kindUnixListen:
		a.path = rest
	case kindFirecracker, kindFirecrackerListen:
		a.path, err = a.cutPort(rest)
		if a.kind == kindFirecrackerListen && a.path != "" {
			a.path += "_" + strconv.FormatUint(uint64(a.port), 10)
		}
	case kindVsock:
		return a, a.parseVsock(rest)
	case kindTCP, kindFirecrackerTCP:
		return a, a.parseTCP(rest)
	default:
		return nil, a.errorf("no such form (want %s)", strings.Join(Forms, ", "))
	}
	switch {
	case err != nil:
		return nil, err
	case a.path == "":
		return nil, a.errorf("the path is missing")
	case strings.IndexByte(a.path, 0) >= 0:
		return nil, a.errorf("NUL in the path")
	case len(a.path) > maxUnixPath:
		return nil, a.errorf("a Unix socket's path has at most %d bytes, %s has %d", maxUnixPath, a.path, len(a.path))
	}
	return a, nil
}

// cutPort cuts a port off the end of a Firecracker address if its last part is all digits.
func (a *address) cutPort(rest string) (path string, err error) {
	i := strings.LastIndexByte(rest, ':')
	if i < 0 || strings.Trim(rest[i+1:], "0123456789") != "" {
		return rest, nil
	}
	return rest[:i], a.parsePort(rest[i+1:])
}

// parseVsock parses CID or CID:PORT.
func (a *address) parseVsock(rest string) error {
	cid, port, found := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(cid, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return a.errorf("the CID must be a decimal number below %d", uint32(math.MaxUint32))
	}
	a.cid = uint32(n)
	if !found {
		return nil
	}
	return a.parsePort(port)
}

// tcp reports whether the address is one of TCP.
func (a *address) tcp() bool { return a.kind == kindTCP || a.kind == kindFirecrackerTCP }

// handshakes reports whether the socket is Firecracker's, which is asked for the guest's port.
func (a *address) handshakes() bool { return a.kind == kindFirecracker || a.kind == kindFirecrackerTCP }

// parseTCP parses HOST:TCPPORT, where an IPv6 address is in brackets, and for Firecracker also
// HOST:TCPPORT:PORT. It refuses a host that is not this one.
func (a *address) parseTCP(rest string) error {
	host, ports, found := strings.Cut(rest, ":")
	if strings.HasPrefix(rest, "[") {
		host, ports, found = strings.Cut(rest[1:], "]:")
	}
	port, guest, more := strings.Cut(ports, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case !found || err != nil || n == 0:
		return a.errorf("want a host and a TCP port, such as localhost:7000")
	case more && a.kind == kindTCP:
		return a.errorf("%q is left over; firecracker-tcp takes a port of the guest", guest)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return a.errorf("TCP is neither encrypted nor authenticated, so %q must be localhost or a loopback address; "+
			"forward the guest's socket there, as with ssh -L", host)
	}
	a.path = net.JoinHostPort(host, port)
	if more {
		return a.parsePort(guest)
	}
	return nil
}

// parsePort sets the port. It refuses the greatest number, which stands for any port.
func (a *address) parsePort(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n == math.MaxUint32 {
		return a.errorf("the port must be a decimal number in 1..%d", uint32(math.MaxUint32-1))
	}
	a.port = uint32(n)
	return nil
}

// errorf makes an AddrError for a.
func (a *address) errorf(format string, args ...any) error {
	return &AddrError{Addr: a.text, Reason: fmt.Sprintf(format, args...)}
}
