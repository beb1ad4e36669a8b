package network

import "wick/reactor/agent/internal/sys"

// addr is an IPv4 or IPv6 address, and how many bits of it are the network's. The zero addr is no
// address.
type addr struct {
	b    [16]byte
	n    uint8 // 4 or 16 bytes of b, or 0
	bits uint8 // all of them for an address alone
}

// unusable reports whether no interface can have the address: unspecified or multicast.
func (a *addr) unusable() bool {
	if a.n == 4 {
		return a.b[0] >= 224 || a.b[0] == 0
	}
	return a.b[0] == 0xff || a.b == [16]byte{}
}

// contains reports whether another address is of the same network.
func (a *addr) contains(other *addr) bool {
	if a.n != other.n {
		return false
	}
	for i := range a.bits {
		if (a.b[i/8]^other.b[i/8])<<(i%8)&0x80 != 0 {
			return false
		}
	}
	return true
}

// fill sets all bits behind those of the network.
func (a *addr) fill(one bool) {
	for i := a.bits; i < 8*a.n; i++ {
		bit := byte(0x80) >> (i % 8)
		if a.b[i/8] &^= bit; one {
			a.b[i/8] |= bit
		}
	}
}

// parse takes "10.0.2.15" or "fd00::2".
func (a *addr) parse(s string) bool {
	if _, _, colon := sys.Cut(s, ':'); colon {
		return a.parse6(s)
	}
	*a = addr{n: 4, bits: 32}
	return quad(s, a.b[:4])
}

// quad parses four numbers between dots. A leading zero is refused: it means octal to some
// programs.
func quad(s string, b []byte) bool {
	for i := range 4 {
		part, rest, dot := sys.Cut(s, '.')
		n := decimal(part, 255)
		if n < 0 || len(part) > 1 && part[0] == '0' || dot != (i < 3) {
			return false
		}
		b[i], s = byte(n), rest
	}
	return true
}

func (a *addr) parse6(s string) bool {
	*a = addr{n: 16, bits: 128}
	gap, at := -1, 0 // where "::" is, and how many bytes there are
	if len(s) >= 2 && s[:2] == "::" {
		gap, s = 0, s[2:]
	}
	for s != "" {
		part, rest, more := sys.Cut(s, ':')
		if at <= 12 && !more && quad(part, a.b[at:at+4]) {
			at += 4
			break
		}
		if part == "" || len(part) > 4 || at > 14 || more && rest == "" {
			return false
		}
		n := 0
		for i := range len(part) {
			digit := hexDigit(part[i])
			if digit < 0 {
				return false
			}
			n = n<<4 | digit
		}
		a.b[at], a.b[at+1] = byte(n>>8), byte(n)
		at += 2
		if s = rest; more && s[0] == ':' {
			if gap >= 0 {
				return false
			}
			gap, s = at, s[1:]
		}
	}
	if gap < 0 {
		return at == 16
	}
	if at == 16 {
		return false
	}
	for i := at - 1; i >= gap; i-- { // what stands behind the gap goes to the end
		a.b[i+16-at], a.b[i] = a.b[i], 0
	}
	clear(a.b[gap : gap+16-at])
	return true
}

// parsePrefix takes "10.0.2.15/24". An address alone is all of the network.
func (a *addr) parsePrefix(s string) bool {
	text, bits, slash := sys.Cut(s, '/')
	if !a.parse(text) {
		return false
	}
	if slash {
		n := decimal(bits, int(a.bits))
		if n < 0 || len(bits) > 1 && bits[0] == '0' {
			return false
		}
		a.bits = uint8(n)
	}
	return true
}

// text returns the address as RFC 5952 has it.
func (a *addr) text() (s string) {
	if a.n == 4 {
		for _, b := range a.b[:4] {
			s += "." + sys.Num(int(b))
		}
		return s[1:]
	}
	from, to := -1, -1 // the longest run of zeros, which is written as "::"
	for i := 0; i < 16; i += 2 {
		j := i
		for j < 16 && a.b[j]|a.b[j+1] == 0 {
			j += 2
		}
		if j-i > 2 && j-i > to-from {
			from, to = i, j
		}
	}
	for i := 0; i < 16; i += 2 {
		if i == from {
			s += "::"
			i = to - 2
			continue
		}
		if i > 0 && i != to {
			s += ":"
		}
		s += hex(uint(a.b[i])<<8 | uint(a.b[i+1]))
	}
	return s
}

// hex returns n in hexadecimal.
func hex(n uint) (s string) {
	for {
		s = digits[n&15:][:1] + s
		if n >>= 4; n == 0 {
			return s
		}
	}
}

// prefix returns the address and its bits.
func (a *addr) prefix() string { return a.text() + "/" + sys.Num(int(a.bits)) }

const digits = "0123456789abcdef"

// mac is an Ethernet address.
type mac [6]byte

// parse takes "02:fc:00:00:00:01".
func (m *mac) parse(s string) bool {
	for i := range m {
		part, rest, more := sys.Cut(s, ':')
		if len(part) != 2 || more != (i < 5) || hexDigit(part[0])|hexDigit(part[1]) < 0 {
			return false
		}
		m[i], s = byte(hexDigit(part[0])<<4|hexDigit(part[1])), rest
	}
	return true
}

func (m *mac) text() (s string) {
	for _, b := range m {
		s += ":" + hex(uint(b)>>4) + hex(uint(b)&15)
	}
	return s[1:]
}

// hexDigit returns the value of a digit, or -1.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// decimal parses a number of at most limit, digits alone. It returns -1 for any other text.
func decimal(s string, limit int) int {
	n, ok := sys.ParseNumber(s)
	if !ok || int(n) > limit {
		return -1
	}
	return int(n)
}
