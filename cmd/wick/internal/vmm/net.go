package vmm

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"wick/cmd/wick/internal/usernet"
)

// Net is a machine's network interface, its eth0.
type Net struct {
	// Tap is an existing tap device of the host. "" is a network in user mode: package usernet.
	Tap string
	// HostLoopback lets the guest reach the host's own loopback at the gateway's address, in user
	// mode.
	HostLoopback bool
	// DNS and Search, if given, are name servers and search domains of the guest.
	DNS, Search []string
	// Fields are further fields of vm-init's --net=eth0.
	Fields []string
	// HWAddr is the MAC address; one made from the tap's name if "".
	HWAddr string
	// More are the machine's further interfaces, eth1 and so on, each on a tap device.
	More []*Net
}

// ParseNet parses the value of wick run --net: none, user, user,host-loopback, or tap=NAME and
// fields of vm-init's --net. It returns nil for none.
func ParseNet(s string) (*Net, error) {
	kind, rest, more := strings.Cut(s, ",")
	name, tap := strings.CutPrefix(kind, "tap=")
	switch {
	case s == "none":
		return nil, nil
	case s == "user":
		return &Net{}, nil
	case s == "user,host-loopback":
		return &Net{HostLoopback: true}, nil
	case !tap:
		return nil, fmt.Errorf("--net %q: want none, user, user,host-loopback or tap=NAME", s)
	case name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n"):
		return nil, fmt.Errorf("--net %q: want the name of a tap device, 1 to 15 characters", s)
	}
	n := &Net{Tap: name}
	if !more {
		return n, nil
	}
	for field := range strings.SplitSeq(rest, ",") {
		if err := n.field(field); err != nil {
			return nil, fmt.Errorf("--net %q: %s: %w", s, field, err)
		}
	}
	return n, nil
}

var errNetField = errors.New("want addr=ADDRESS/BITS, gw=ADDRESS, route=NETWORK/BITS[@ADDRESS], mtu=NUMBER or mac=MAC")

// field takes a field behind tap=NAME. The guest checks it again.
func (n *Net) field(field string) error {
	key, value, _ := strings.Cut(field, "=")
	var err error
	switch key {
	case "addr":
		if _, err = netip.ParsePrefix(value); err != nil {
			_, err = netip.ParseAddr(value)
		}
	case "gw":
		_, err = netip.ParseAddr(value)
	case "route":
		to, gateway, gated := strings.Cut(value, "@")
		if _, err = netip.ParsePrefix(to); err == nil && gated {
			_, err = netip.ParseAddr(gateway)
		}
	case "mtu":
		_, err = strconv.ParseUint(value, 10, 16)
	case "mac":
		var mac net.HardwareAddr
		mac, err = net.ParseMAC(value)
		if err == nil && (len(mac) != 6 || len(value) != 17 || mac[0]&1 != 0) {
			err = errNetField
		}
		n.HWAddr = mac.String()
		if err == nil {
			return nil
		}
	default:
		err = errNetField
	}
	if err != nil || strings.Contains(field, "%") {
		return errNetField
	}
	n.Fields = append(n.Fields, field)
	return nil
}

// MAC returns the interface's MAC address: the given one, or one made from the tap's name, so that
// two machines on a bridge differ.
func (n *Net) MAC() string {
	if n.HWAddr != "" {
		return n.HWAddr
	}
	h := fnv.New32a()
	h.Write([]byte(n.Tap))
	return net.HardwareAddr(h.Sum([]byte{0x02, 0xfc})).String()
}

// all returns all interfaces of the machine. n may be nil.
func (n *Net) all() []*Net {
	if n == nil {
		return nil
	}
	return append([]*Net{n}, n.More...)
}

// InitArgs returns the words by which vm-init configures the interfaces.
func (n *Net) InitArgs() []string {
	words, dns := []string{strings.Join(append([]string{"--net=eth0"}, n.Fields...), ",")}, n.DNS
	if n.Tap == "" {
		words[0] = "--net=eth0,addr=" + usernet.Guest + ",gw=" + usernet.Gateway
		if len(dns) == 0 {
			dns = []string{usernet.NameServer}
		}
	}
	for i, more := range n.More {
		words = append(words, strings.Join(append([]string{fmt.Sprintf("--net=eth%d", i+1)}, more.Fields...), ","))
	}
	for _, address := range dns {
		words = append(words, "--dns="+address)
	}
	for _, domain := range n.Search {
		words = append(words, "--search="+domain)
	}
	return words
}

// netdev returns QEMU's back-end of interface i. fd is the descriptor of the connection with
// package usernet.
func (n *Net) netdev(i, fd int) string {
	if n.Tap != "" {
		return fmt.Sprintf("tap,id=net%d,ifname=%s,script=no,downscript=no", i, escape(n.Tap))
	}
	return fmt.Sprintf("socket,id=net%d,fd=%d", i, fd)
}
