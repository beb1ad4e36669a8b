package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// setting is a configuration on its way into the kernel.
type setting struct {
	conn
	failures
}

// check notes a failure about an interface, or about something else, unless errno is 0.
func (t *setting) check(op, object string, errno unix.Errno) {
	if errno != 0 {
		t.add(errno, op+" "+object+": "+errno.Error())
	}
}

// apply brings the machine to a configuration, which replaces the last one. An interface that it
// names gets these addresses and routes and no others; those that the kernel made, and those of a
// router's advertisement, stay. An interface that the last one named and this one does not loses
// its addresses and routes, and goes down. The files of /etc are written if their content differs.
//
// It does all that can be done, and returns what could not be. Unless down is nil, it is called
// while all these interfaces are down.
func (s *Service) apply(p *plan, down func()) failures {
	t := setting{failures: p.bad}
	if errno := t.open(); errno == 0 {
		s.interfaces(p, &t, down)
	} else {
		t.check("read", "rtnetlink", errno)
	}
	t.close()
	s.files(p, &t)
	s.failed = t.text
	return t.failures
}

// interfaces brings the interfaces to a configuration.
func (s *Service) interfaces(p *plan, t *setting, down func()) {
	chosen := t.choose(p)
	if down != nil {
		for _, list := range [...][]uint32{s.named, chosen} {
			for _, index := range list {
				if n := t.find(index); n != nil && n.up {
					t.flags(n, false)
				}
			}
		}
		down()
		t.check("read", "rtnetlink", t.look())
	}
	for _, index := range s.named {
		if n := t.find(index); n != nil && !among(chosen, index) {
			t.sync(n, &link{}, false, false)
			t.flags(n, false) // its routes go with it
		}
	}
	s.named = chosen
	// First what is too many goes, of all interfaces, because two cannot have the same route.
	// Looking again shows what went with it: the kernel drops the other IPv4 addresses of a network
	// with its first one, and routes with their addresses.
	for step := range 4 {
		for i, index := range chosen {
			n, l := t.find(index), &p.links[i]
			if n == nil {
				continue
			}
			if step == 0 {
				t.link(n, l)
			}
			t.sync(n, l, step >= 2, step&1 == 1) // addresses go and come, then routes
		}
		t.check("read", "rtnetlink", t.look())
	}
}

// sync removes the addresses or routes of an interface that are too many, or adds those that lack.
func (t *setting) sync(n *nic, l *link, route, add bool) {
	from, other, op := n.items, l.items, "remove "
	if add {
		from, other, op = other, from, "add "
	}
	for i := range from {
		it := &from[i]
		if it.route != route || it.made || listed(other, it) {
			continue
		}
		errno := t.request(it.message(n, l, add))
		if !route && (errno == unix.EADDRNOTAVAIL || errno == unix.EEXIST) {
			continue // it went with another, or is there
		}
		t.check(op+it.text(), n.name, errno)
	}
}

// message returns the request that adds or removes an item.
func (it *item) message(n *nic, l *link, add bool) message {
	typ, flags := uint16(unix.RTM_DELADDR), uint16(0)
	if add {
		typ, flags = unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL
	}
	family := byte(unix.AF_INET)
	if it.to.n == 16 {
		family = unix.AF_INET6
	}
	to, via := it.to.b[:it.to.n], it.via.b[:it.via.n]
	if !it.route {
		// An IPv6 address is usable at once, without a search for another machine that has it: a
		// virtual network has none.
		m := newMessage(typ, flags).quad(family, it.to.bits, 0, unix.RT_SCOPE_UNIVERSE).word(n.index)
		m = m.attr(unix.IFA_LOCAL, to).attr(unix.IFA_ADDRESS, to)
		if it.to.n == 16 {
			m[unix.SizeofNlMsghdr+2] = unix.IFA_F_NODAD
		} else if it.to.bits < 31 && add {
			broadcast := it.to
			broadcast.fill(true)
			m = m.attr(unix.IFA_BROADCAST, broadcast.b[:4])
		}
		return m
	}
	// A gateway outside the interface's networks is reached on the link, as some clouds have it.
	protocol, scope, onlink := byte(unix.RTPROT_STATIC), byte(unix.RT_SCOPE_UNIVERSE), uint32(unix.RTNH_F_ONLINK)
	switch {
	case !add:
		protocol, scope, onlink = unix.RTPROT_UNSPEC, unix.RT_SCOPE_NOWHERE, 0 // any
	case it.via.n == 0:
		scope, onlink = unix.RT_SCOPE_LINK, 0
	}
	for i := range l.items {
		if o := &l.items[i]; !o.route && o.to.contains(&it.via) {
			onlink = 0
		}
	}
	m := newMessage(typ+unix.RTM_NEWROUTE-unix.RTM_NEWADDR, flags).quad(family, it.to.bits, 0, 0).
		quad(unix.RT_TABLE_MAIN, protocol, scope, unix.RTN_UNICAST).word(onlink)
	if it.to.bits > 0 {
		m = m.attr(unix.RTA_DST, to)
	}
	if it.via.n != 0 {
		m = m.attr(unix.RTA_GATEWAY, via)
	}
	return m.attr32(unix.RTA_OIF, n.index)
}

// link sets what is not an address or route.
func (t *setting) link(n *nic, l *link) {
	if l.mac != (mac{}) && l.mac != n.mac {
		m := linkMessage(n, 0, 0).attr(unix.IFLA_ADDRESS, l.mac[:])
		errno := t.request(m)
		if errno == unix.EBUSY && n.up { // some drivers change it only when the interface is down
			t.flags(n, false)
			errno = t.request(m)
		}
		t.check("set mac="+l.mac.text(), n.name, errno)
	}
	if l.mtu != 0 && uint32(l.mtu) != n.mtu {
		t.check("set mtu="+sys.Num(l.mtu), n.name, t.request(linkMessage(n, 0, 0).attr32(unix.IFLA_MTU, uint32(l.mtu))))
	}
	if l.down == n.up {
		t.flags(n, !l.down)
	}
}

// linkMessage sets flags of an interface, those in mask.
func linkMessage(n *nic, flags, mask uint32) message {
	return newMessage(unix.RTM_NEWLINK, 0).word(0).word(n.index).word(flags).word(mask)
}

// flags sets an interface up or down.
func (t *setting) flags(n *nic, up bool) {
	op, flags := "set down", uint32(0)
	if up {
		op, flags = "set up", unix.IFF_UP
	}
	t.check(op, n.name, t.request(linkMessage(n, flags, unix.IFF_UP)))
	n.up = up
}

// choose returns the index of each link's interface, 0 for one that is not there.
func (t *setting) choose(p *plan) []uint32 {
	chosen := make([]uint32, len(p.links))
	for i := range p.links {
		selector, found := p.links[i].selector, uint32(0)
		for j := len(t.nics) - 1; j >= 0; j-- { // the first of those that fit
			if t.nics[j].fits(selector) {
				found = t.nics[j].index
			}
		}
		errno := unix.Errno(0)
		switch {
		case found == 0:
			errno = unix.ENODEV
		case among(chosen, found):
			errno = unix.EEXIST // by its name and by its MAC address
		default:
			chosen[i] = found
		}
		t.check("configure", selector, errno)
	}
	return chosen
}

// fits reports whether the interface is one that a selector means.
func (n *nic) fits(selector string) bool {
	var m mac
	switch {
	case n.loopback:
		return false
	case selector == "":
		return n.ether
	case m.parse(selector):
		return n.ether && n.mac == m
	}
	return n.name == selector
}

func among(list []uint32, index uint32) bool {
	for _, other := range list {
		if other == index {
			return true
		}
	}
	return false
}
