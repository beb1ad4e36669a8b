package forward

import (
	"strconv"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// address is a socket address as the kernel has it: sockaddr_in, sockaddr_in6 or sockaddr_un.
type address []byte

const (
	sizeInet4 = 16
	sizeInet6 = 28
	sizeUnix  = 110
	// maxUnix limits a path or abstract name, in bytes. A path has a NUL behind it, and a name one
	// before it.
	maxUnix = 107
)

// inet returns the address of an IP address of 4 or 16 bytes and a port.
func inet(ip []byte, port uint16) address {
	a := make(address, 12+len(ip))
	at := 4
	if a[0] = unix.AF_INET; len(ip) == 16 {
		a[0], at = unix.AF_INET6, 8
	}
	a[2], a[3] = byte(port>>8), byte(port)
	copy(a[at:], ip)
	return a
}

// These reasons have an errno other than EINVAL.
const (
	reasonLong = "longer than 107 bytes"
	reasonName = "the guest resolves no name but localhost"
)

// parse returns the socket addresses that a text stands for, in the order in which to try them.
func parse(network framing.Network, text string, listen bool) (list []address, f *failure) {
	var reason string
	errno := unix.EINVAL
	switch network {
	case framing.NetworkTCP:
		list, reason = parseTCP(text, listen)
	case framing.NetworkUnix:
		list, reason = parseUnix(text)
	default:
		errno, reason = unix.EPROTONOSUPPORT, "network "+sys.Num(int(network))+" is not supported"
	}
	switch reason {
	case "":
		return list, nil
	case reasonLong:
		errno = unix.ENAMETOOLONG
	case reasonName:
		errno = unix.EADDRNOTAVAIL
	}
	return nil, worded(framing.StageAddress, errno, "address "+sys.Clip(text, 200)+": "+reason)
}

func parseUnix(text string) (list []address, reason string) {
	at, n := 2, len(text)
	if n > 0 && text[0] == '@' {
		at, n, text = 3, n-1, text[1:]
	}
	switch {
	case n == 0:
		return nil, "empty"
	case n > maxUnix:
		return nil, reasonLong
	}
	a := make(address, 3+n)
	a[0] = unix.AF_UNIX
	copy(a[at:], text)
	return []address{a}, ""
}

func parseTCP(text string, listen bool) (list []address, reason string) {
	colon := len(text) - 1
	for colon >= 0 && text[colon] != ':' {
		colon--
	}
	if colon < 0 {
		return nil, "no port"
	}
	host := text[:colon]
	number, ok := sys.ParseNumber(text[colon+1:])
	port := uint16(number)
	switch {
	case !ok || number > 65535:
		return nil, "port is not a number of 0 to 65535"
	case port == 0 && !listen:
		return nil, "port 0"
	}
	var ip [16]byte
	v4 := ip[:4]
	switch {
	case host == "" && listen:
		return []address{inet(ip[:], port), inet(v4, port)}, ""
	case host == "", host == "localhost":
		list = []address{inet([]byte{127, 0, 0, 1}, port)}
		ip[15] = 1
		return append(list, inet(ip[:], port)), ""
	case parseIPv4(host, v4):
		return []address{inet(v4, port)}, ""
	case host[0] != '[':
		return nil, notHost(host)
	case !parseIPv6(host, &ip):
		return nil, "not an IPv6 address in brackets"
	}
	return []address{inet(ip[:], port)}, ""
}

// notHost returns the reason why parseTCP refuses a host.
func notHost(host string) string {
	reason := "not an IPv4 address"
	for i := range len(host) {
		switch c := host[i]; {
		case c == ':':
			return "an IPv6 address is written in brackets"
		case c <= ' ' || c == '[' || c == ']' || c == '/' || c == 0x7f:
			return "not a host"
		case c != '.' && c-'0' > 9:
			reason = reasonName
		}
	}
	return reason
}

// parseIPv4 parses an IPv4 address into four bytes. No part has a leading zero.
func parseIPv4(s string, ip []byte) bool {
	for i := range ip {
		part, rest, more := sys.Cut(s, '.')
		n, ok := sys.ParseNumber(part)
		if !ok || n > 255 || len(part) > 1 && part[0] == '0' || more != (i < 3) {
			return false
		}
		ip[i], s = byte(n), rest
	}
	return true
}

// parseIPv6 parses an IPv6 address in brackets, without a zone; RFC 4291, 2.2.
func parseIPv6(s string, ip *[16]byte) bool {
	if len(s) < 4 || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	gap, n := -1, 0
	if s[0] == ':' {
		if s[1] != ':' {
			return false
		}
		gap, s = 0, s[2:]
	}
	for s != "" && n < 16 {
		part, rest, more := sys.Cut(s, ':')
		if n <= 12 && !more && parseIPv4(part, ip[n:n+4]) {
			n, s = n+4, ""
			break
		}
		group := 0
		for i := range len(part) {
			c := part[i]
			switch letter := c | 0x20 - 'a'; {
			case i == 4:
				return false
			case c-'0' <= 9:
				group = group<<4 | int(c-'0')
			case letter <= 5:
				group = group<<4 | int(letter+10)
			default:
				return false
			}
		}
		if part == "" || more && rest == "" {
			return false
		}
		ip[n], ip[n+1] = byte(group>>8), byte(group)
		n, s = n+2, rest
		if more && rest[0] == ':' {
			if gap >= 0 {
				return false
			}
			gap, s = n, rest[1:]
		}
	}
	if s != "" || gap < 0 && n < 16 || gap >= 0 && n > 14 { // a gap is at least one group
		return false
	}
	if gap >= 0 {
		end := 16 - (n - gap)
		copy(ip[end:], ip[gap:n])
		clear(ip[gap:end])
	}
	return true
}

// appendIP appends the text of an IP address of 4 or 16 bytes; RFC 5952. An IPv4 address mapped to
// IPv6 becomes an IPv4 address.
func appendIP(b, ip []byte) []byte {
	if len(ip) == 16 && string(ip[:12]) == "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff" {
		ip = ip[12:]
	}
	if len(ip) == 4 {
		for i, n := range ip {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendUint(b, uint64(n), 10)
		}
		return b
	}
	begin, end := 16, 16 // the longest run of zero groups, if it is longer than one
	for i := 0; i < 16; i += 2 {
		j := i
		for j < 16 && ip[j]|ip[j+1] == 0 {
			j += 2
		}
		if j-i > max(end-begin, 2) {
			begin, end = i, j
		}
	}
	for i := 0; i < 16; i += 2 {
		if i == begin {
			b = append(b, "::"...)
			if i = end; i == 16 {
				break
			}
		} else if i > 0 {
			b = append(b, ':')
		}
		b = strconv.AppendUint(b, uint64(ip[i])<<8|uint64(ip[i+1]), 16)
	}
	return b
}

// text returns the text of an address, as hosts write it. A Unix socket without a name has an empty
// one.
func (a address) text() []byte {
	switch {
	case len(a) >= sizeInet4 && a[0] == unix.AF_INET:
		return a.withPort(a[4:8])
	case len(a) >= sizeInet6 && a[0] == unix.AF_INET6:
		return a.withPort(a[8:24])
	case len(a) <= 2 || a[0] != unix.AF_UNIX:
		return nil
	}
	name := a[2:]
	if name[0] == 0 {
		name[0] = '@'
		return name
	}
	for i, c := range name {
		if c == 0 {
			return name[:i]
		}
	}
	return name
}

func (a address) withPort(ip []byte) []byte {
	text := appendIP([]byte{'['}, ip)
	bare := true
	for _, c := range text {
		bare = bare && c != ':'
	}
	if bare {
		text = text[1:]
	} else {
		text = append(text, ']')
	}
	return strconv.AppendUint(append(text, ':'), uint64(a[2])<<8|uint64(a[3]), 10)
}

// addressText returns the text of a socket's own address, or with unix.SYS_GETPEERNAME of its
// peer's. A socket that is no longer connected has an empty one.
func addressText(trap uintptr, fd int) []byte {
	a := make(address, sizeUnix)
	return a[:sys.AddressOf(trap, fd, a)].text()
}
