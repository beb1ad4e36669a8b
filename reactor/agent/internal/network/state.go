package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// nic is an interface as the kernel has it.
type nic struct {
	index    uint32
	name     string
	mac      mac
	mtu      uint32
	up       bool
	loopback bool
	ether    bool
	items    []item
}

// item is an address of an interface, or a route over it.
type item struct {
	to    addr // or the address
	via   addr // the gateway; none for a route on the link
	route bool
	made  bool // by the kernel, or by a router's advertisement
}

// text returns the field of --net for the item.
func (it *item) text() string {
	switch {
	case !it.route:
		return "addr=" + it.to.prefix()
	case it.to.bits == 0 && it.via.n != 0:
		return "gw=" + it.via.text()
	case it.via.n == 0:
		return "route=" + it.to.prefix()
	}
	return "route=" + it.to.prefix() + "@" + it.via.text()
}

// listed reports whether an item is in a list.
func listed(list []item, it *item) bool {
	for i := range list {
		if o := &list[i]; o.to == it.to && o.via == it.via && o.route == it.route {
			return true
		}
	}
	return false
}

// look reads all interfaces, with what belongs to each.
func (c *conn) look() unix.Errno {
	c.nics = nil
	for typ := uint16(unix.RTM_GETLINK); typ <= unix.RTM_GETROUTE; typ += unix.RTM_GETADDR - unix.RTM_GETLINK {
		m := newMessage(typ, unix.NLM_F_DUMP).word(0).word(0).word(0).word(0) // an ifinfomsg, the longest
		if errno := c.request(m); errno != 0 {
			return errno
		}
	}
	return 0
}

// find returns the interface with an index, or nil.
func (c *conn) find(index uint32) *nic {
	for i := range c.nics {
		if c.nics[i].index == index {
			return &c.nics[i]
		}
	}
	return nil
}

// take takes a message of a dump. size is of the fixed part that its attributes follow.
func (c *conn) take(typ uint16, b []byte) {
	size := unix.SizeofRtMsg
	switch typ {
	case unix.RTM_NEWLINK:
		size = unix.SizeofIfInfomsg
	case unix.RTM_NEWADDR:
		size = unix.SizeofIfAddrmsg
	}
	if len(b) < size {
		return
	}
	c.attributes(b[size:])
	var it item
	n := c.find(u32(b[4:]))
	switch typ {
	case unix.RTM_NEWLINK:
		c.takeLink(b)
		return
	case unix.RTM_NEWADDR: // family, bits, flags, scope, index
		it.to.take(c.attrs[unix.IFA_ADDRESS])
		it.to.take(c.attrs[unix.IFA_LOCAL]) // where the two differ, the first is the far end
		it.made = u32(c.attrs[unix.IFA_FLAGS])&unix.IFA_F_PERMANENT == 0 || b[3] > unix.RT_SCOPE_SITE
	case unix.RTM_NEWROUTE:
		// family, bits of destination and source, tos, table, protocol, scope, type, flags
		n = c.find(u32(c.attrs[unix.RTA_OIF]))
		switch b[5] {
		case unix.RTPROT_KERNEL, unix.RTPROT_RA, unix.RTPROT_REDIRECT:
			return
		}
		if b[7] != unix.RTN_UNICAST || u32(b[8:])&unix.RTM_F_CLONED != 0 ||
			u32(c.attrs[unix.RTA_TABLE]) != unix.RT_TABLE_MAIN {
			return
		}
		it.route = true
		if it.to.n = 16; b[0] == unix.AF_INET {
			it.to.n = 4
		}
		it.to.take(c.attrs[unix.RTA_DST])
		it.via.take(c.attrs[unix.RTA_GATEWAY])
	}
	if it.to.bits = b[1]; n != nil && it.to.n != 0 && it.to.bits <= 8*it.to.n && len(n.items) < maxItems {
		n.items = append(n.items, it)
	}
}

// takeLink takes an ifinfomsg: family, type, index, flags.
func (c *conn) takeLink(b []byte) {
	if len(c.nics) == maxNICs {
		return
	}
	c.nics = append(c.nics, nic{})
	n := &c.nics[len(c.nics)-1]
	flags := u32(b[8:])
	n.index = u32(b[4:])
	n.name = unix.ByteSliceToString(c.attrs[unix.IFLA_IFNAME])
	n.up = flags&unix.IFF_UP != 0
	n.loopback = flags&unix.IFF_LOOPBACK != 0
	n.ether = u16(b[2:]) == unix.ARPHRD_ETHER
	n.mtu = u32(c.attrs[unix.IFLA_MTU])
	copy(n.mac[:], c.attrs[unix.IFLA_ADDRESS])
}

// take takes an address of the kernel.
func (a *addr) take(b []byte) {
	if len(b) == 4 || len(b) == 16 {
		a.n = uint8(copy(a.b[:], b))
		a.bits = 8 * a.n
	}
}

// fields returns the fields of --net that would make the interface what it is.
func (n *nic) fields() string {
	text := "down"
	if n.up {
		text = "up"
	}
	if n.ether {
		text += ",mac=" + n.mac.text()
	}
	text += ",mtu=" + sys.Num(n.mtu)
	for i := range n.items {
		text += "," + n.items[i].text()
	}
	return text
}
