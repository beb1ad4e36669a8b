package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

const (
	// maxPasses limits the looks at all connections. A look misses some of those behind one
	// that it destroys.
	maxPasses = 8
	// maxDropped limits the connections of one call.
	maxDropped = 1 << 16
)

// The layout of a request and of a record; linux/inet_diag.h. The identity of a socket is its
// ports and its addresses, an interface and a cookie.
const (
	diagID     = 4  // where the identity begins in a record
	diagIDSize = 48 // in bytes
	diagInode  = 68
	diagSize   = 72
	// diagStates are all states but TCP_CLOSE (7) and TCP_LISTEN (10).
	diagStates = 0xfff &^ (1<<7 | 1<<10)
)

// ends are the ends of a connection: two ports and two addresses of 16 bytes, the socket's own one
// first.
type ends [36]byte

// endsOf returns the ends that a record has. An IPv4 address has its form in IPv6.
func endsOf(family byte, id []byte) (e ends) {
	copy(e[:], id[:4])
	for i := range 2 {
		from, to := id[4+16*i:][:16], e[4+16*i:][:16]
		if family == unix.AF_INET {
			copy(to, mapped)
			from, to = from[:4], to[len(mapped):]
		}
		copy(to, from)
	}
	return e
}

// mapped precedes an IPv4 address in IPv6.
const mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"

// peer returns the ends as the socket at the other end has them.
func (e *ends) peer() (p ends) {
	copy(p[:], e[2:4])
	copy(p[2:], e[:2])
	copy(p[4:], e[20:])
	copy(p[20:], e[4:20])
	return p
}

// loopback reports whether one of the addresses is a loopback one.
func (e *ends) loopback() bool {
	for i := range 2 {
		a := e[4+16*i:][:16]
		if string(a[:len(mapped)]) == mapped && a[len(mapped)] == 127 ||
			string(a) == "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" {
			return true
		}
	}
	return false
}

// dropper destroys connections.
type dropper struct {
	dump, destroy conn     // conversations with sock_diag
	inodes        []uint32 // sockets of this process
	own           []ends   // their ends
	listing       bool     // own is being made, and nothing destroyed
	dropped       int
	failures
}

// DropConnections destroys the TCP connections of the network namespace by SOCK_DESTROY, and
// returns how many. Their programs get ECONNABORTED. Those over a loopback address stay, and so
// do both ends of this process's own. The kernel needs CONFIG_INET_DIAG_DESTROY.
func (s *Service) DropConnections() (dropped int, err error) {
	s.Garbage.Collect(3*bufferSize + 8<<10)
	d := dropper{listing: true}
	for _, c := range []*conn{&d.dump, &d.destroy} {
		if errno := c.dial(unix.NETLINK_SOCK_DIAG); errno != 0 {
			d.add(errno, "sock_diag: "+errno.Error())
		}
	}
	d.findOwn()
	d.look()
	d.listing = false
	for range maxPasses {
		before := d.dropped
		if d.look(); d.dropped == before {
			break
		}
	}
	d.dump.close()
	d.destroy.close()
	return d.dropped, d.error()
}

// findOwn finds the sockets of this process.
func (d *dropper) findOwn() {
	dir, err := sys.OpenDir("/proc/self/fd")
	if err != nil {
		return
	}
	sys.EachEntry(dir, d.dump.buf, func(name string) {
		var st unix.Stat_t
		fd, ok := sys.ParseNumber(name)
		if ok && unix.Fstat(int(fd), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			d.inodes = append(d.inodes, uint32(st.Ino))
		}
	})
	unix.Close(dir)
}

// look looks at all connections, unless something has failed.
func (d *dropper) look() {
	for _, family := range [...]byte{unix.AF_INET, unix.AF_INET6} {
		if d.count > 0 {
			return
		}
		m := diagRequest(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, family)
		d.dump.took = func(body []byte) { d.take(family, body) }
		errno := d.dump.request(m)
		if errno != 0 && (family == unix.AF_INET || errno != unix.ENOENT) { // ENOENT: no IPv6
			d.add(errno, "sock_diag: "+errno.Error())
		}
	}
}

// diagRequest begins a request about TCP sockets. The identity of one follows.
func diagRequest(typ, flags uint16, family byte) message {
	m := newMessage(typ, flags).quad(family, unix.IPPROTO_TCP, 0, 0).word(diagStates)
	if flags&unix.NLM_F_DUMP != 0 {
		m = m[:len(m)+diagIDSize] // of any
		clear(m[len(m)-diagIDSize:])
	}
	return m
}

// take takes a record of a dump.
func (d *dropper) take(family byte, body []byte) {
	if len(body) < diagSize || d.count > 0 || d.dropped == maxDropped {
		return
	}
	id := body[diagID:][:diagIDSize]
	e := endsOf(body[0], id)
	if d.listing {
		if among(d.inodes, u32(body[diagInode:])) {
			d.own = append(d.own, e)
		}
		return
	}
	if e.loopback() || d.isOwn(e) {
		return
	}
	m := diagRequest(unix.SOCK_DESTROY, 0, family)
	m = append(m, id...)
	switch errno := d.destroy.request(m); errno {
	case 0:
		d.dropped++
	case unix.ENOENT: // it has ended meanwhile, as the far end of one that was destroyed
	case unix.EOPNOTSUPP:
		d.add(errno, "destroy connections: kernel has no CONFIG_INET_DIAG_DESTROY")
	default:
		d.add(errno, "destroy a connection: "+errno.Error())
	}
}

// isOwn reports whether the ends are those of a connection of this process, seen from either end.
func (d *dropper) isOwn(e ends) bool {
	p := e.peer()
	for i := range d.own {
		if d.own[i] == e || d.own[i] == p {
			return true
		}
	}
	return false
}
