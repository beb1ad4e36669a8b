package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"wick/framing/client"
)

// interfaces returns the interfaces that are up, in their order, other than the loopback and our
// taps.
func interfaces() (outer []net.Interface, err error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		_, ours := tapOf(n.Name)
		switch {
		case n.Flags&net.FlagUp == 0 || n.Flags&net.FlagLoopback != 0 || ours:
		case len(n.HardwareAddr) != 6:
			return nil, refused("give the machine the interface %s: it has no Ethernet address", n.Name)
		default:
			outer = append(outer, n)
		}
	}
	// CNI makes eth0 first, or all at the same time.
	slices.SortFunc(outer, func(a, b net.Interface) int {
		return cmp.Or(len(a.Name)-len(b.Name), strings.Compare(a.Name, b.Name))
	})
	if len(outer) > maxInterfaces {
		return nil, refused("give the machine %d interfaces: the most is %d", len(outer), maxInterfaces)
	}
	return outer, nil
}

// describe returns the machine's network, with the addresses and routes of interfaces.
func describe(outer []net.Interface) (config client.Network, err error) {
	if len(outer) == 0 {
		return config, nil
	}
	fields := map[int][]string{} // by the index of the interface
	for _, n := range outer {
		words := []string{n.HardwareAddr.String(), fmt.Sprint("mtu=", n.MTU)}
		addresses, err := n.Addrs()
		if err != nil {
			return config, err
		}
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a.String())
			// The guest makes a link-local IPv6 address by itself.
			if err == nil && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
				words = append(words, "addr="+p.String())
			}
		}
		fields[n.Index] = words
	}
	list, err := routes()
	if err != nil {
		return config, err
	}
	if err := checkNeighbours(fields); err != nil {
		return config, err
	}
	best := map[netip.Prefix]bool{}
	for _, r := range list {
		// The first of those to the same network has the least metric.
		if fields[r.index] != nil && !best[r.to] {
			best[r.to] = true
			fields[r.index] = append(fields[r.index], r.field())
		}
	}
	for _, n := range outer {
		config.Interfaces = append(config.Interfaces, strings.Join(fields[n.Index], ","))
	}
	return config, nil
}

// route is a route over an interface.
type route struct {
	to     netip.Prefix
	via    netip.Addr // the gateway, if it is valid
	index  int
	metric uint32
}

// field returns the field of --net for the route.
func (r *route) field() string {
	switch {
	case !r.via.IsValid():
		return "route=" + r.to.String()
	case r.to.Bits() == 0:
		return "gw=" + r.via.String()
	}
	return "route=" + r.to.String() + "@" + r.via.String()
}

// routes returns the routes of the thread's network namespace that do not come with an address, by
// their metric. It refuses those that a machine cannot have.
func routes() (list []route, err error) {
	err = dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, unix.SizeofRtMsg,
		func(b []byte, attribute func(uint16) []byte) error {
			family, bits, table, protocol, kind := b[0], int(b[1]), uint32(b[4]), b[5], b[7]
			if t := attribute(unix.RTA_TABLE); len(t) == 4 {
				table = binary.NativeEndian.Uint32(t)
			}
			number := func(kind uint16) uint32 {
				if v := attribute(kind); len(v) == 4 {
					return binary.NativeEndian.Uint32(v)
				}
				return 0
			}
			if (family != unix.AF_INET && family != unix.AF_INET6) || table == unix.RT_TABLE_LOCAL ||
				protocol == unix.RTPROT_KERNEL || protocol == unix.RTPROT_RA {
				return nil
			}
			r := route{index: int(number(unix.RTA_OIF)), metric: number(unix.RTA_PRIORITY)}
			to, ok := netip.AddrFromSlice(attribute(unix.RTA_DST))
			if !ok {
				to = netip.IPv4Unspecified()
				if family == unix.AF_INET6 {
					to = netip.IPv6Unspecified()
				}
			}
			r.to = netip.PrefixFrom(to, bits)
			r.via, _ = netip.AddrFromSlice(attribute(unix.RTA_GATEWAY))
			reason := ""
			switch {
			case table != unix.RT_TABLE_MAIN:
				reason = fmt.Sprintf("it is in table %d", table)
			case kind != unix.RTN_UNICAST:
				reason = "it drops what it matches"
			case attribute(unix.RTA_MULTIPATH) != nil:
				reason = "it has several gateways"
			case attribute(unix.RTA_VIA) != nil:
				reason = "its gateway is of another family"
			case attribute(unix.RTA_ENCAP) != nil:
				reason = "it encapsulates"
			case b[2] != 0:
				reason = "it depends on the source"
			}
			if reason != "" {
				return refused("give the machine the route to %s: %s", r.to, reason)
			}
			list = append(list, r)
			return nil
		})
	slices.SortStableFunc(list, func(a, b route) int { return int(int64(a.metric) - int64(b.metric)) })
	return list, err
}

// checkNeighbours refuses fixed hardware addresses of neighbours, which a machine cannot have.
func checkNeighbours(interfaces map[int][]string) error {
	const sizeofNdMsg, permanent = 12, 0x80
	return dump(unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, sizeofNdMsg,
		func(b []byte, attribute func(uint16) []byte) error {
			index, state := int(binary.NativeEndian.Uint32(b[4:])), binary.NativeEndian.Uint16(b[8:])
			if state&permanent == 0 || interfaces[index] == nil {
				return nil
			}
			const destination = 1
			address, _ := netip.AddrFromSlice(attribute(destination))
			return refused("give the machine the fixed hardware address of %s: not supported", address)
		})
}

// dump calls f with each object that a request of rtnetlink lists, in the thread's network
// namespace. b is a fixed part of that size. attribute returns the value of an attribute, or nil.
func dump(
	get int, kind uint16, size int, f func(b []byte, attribute func(kind uint16) []byte) error,
) error {
	answer, err := syscall.NetlinkRIB(get, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("rtnetlink: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil {
		return fmt.Errorf("rtnetlink: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != kind || len(m.Data) < size {
			continue
		}
		const typeMask = 1<<14 - 1 // the bits above it are flags
		attribute := func(kind uint16) []byte {
			for rest := m.Data[size:]; len(rest) >= unix.SizeofRtAttr; {
				n := int(binary.NativeEndian.Uint16(rest))
				if n < unix.SizeofRtAttr || n > len(rest) {
					break
				}
				if binary.NativeEndian.Uint16(rest[2:])&typeMask == kind {
					return rest[unix.SizeofRtAttr:n]
				}
				rest = rest[min((n+3)&^3, len(rest)):]
			}
			return nil
		}
		if err := f(m.Data[:size], attribute); err != nil {
			return err
		}
	}
	return nil
}
