package usernet

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// The addresses of the network.
const (
	Guest      = "10.0.2.15/24"
	Gateway    = "10.0.2.2"
	NameServer = "10.0.2.3"
)

var (
	network    = netip.MustParsePrefix(Guest).Masked()
	gateway    = netip.MustParseAddr(Gateway)
	nameServer = netip.MustParseAddr(NameServer)
)

const (
	mtu = 1500
	// maxFrame limits the frames from QEMU, which sends none above the MTU of the guest.
	maxFrame = 64 << 10
	// queue is how many frames wait for QEMU. The stack drops and resends what does not fit.
	queue = 1024
	// gatewayMAC is the gateway's Ethernet address.
	gatewayMAC = "\x02\xfc\x00\x00\x02\x02"
	nicID      = 1
)

// Network is the network of one machine.
type Network struct {
	frames       net.Conn
	link         *channel.Endpoint
	stack        *stack.Stack
	hostLoopback bool
	ctx          context.Context
	cancel       context.CancelFunc
	running      sync.WaitGroup // the two loops, and the connections of the guest

	mu          sync.Mutex
	connections int
}

// New starts the network of a machine. frames is the connection with QEMU, which New takes over. It
// carries frames with their length before each, in 4 bytes. hostLoopback lets the guest reach the
// host's loopback at [Gateway].
func New(frames net.Conn, hostLoopback bool) (*Network, error) {
	n := &Network{
		frames: frames, hostLoopback: hostLoopback,
		link: channel.New(queue, mtu+header.EthernetMinimumSize, gatewayMAC),
		stack: stack.New(stack.Options{
			NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{
				tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4,
			},
		}),
	}
	silence()
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.configure(); err != nil {
		n.Close()
		return nil, fmt.Errorf("start the network in user mode: %s", err)
	}
	n.running.Go(n.receive)
	n.running.Go(n.send)
	return n, nil
}

// silence makes the stack log nothing. By default it writes to stderr about odd packets of a guest.
var silence = sync.OnceFunc(func() { log.Log().Emitter = &log.MultiEmitter{} })

// configure makes the stack answer for every address, as a gateway does.
func (n *Network) configure() tcpip.Error {
	s := n.stack
	if err := s.CreateNIC(nicID, ethernet.New(n.link)); err != nil {
		return err
	}
	for _, addr := range []netip.Addr{gateway, nameServer} {
		a := tcpip.ProtocolAddress{
			Protocol: ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: tcpip.AddrFrom4(addr.As4()), PrefixLen: network.Bits(),
			},
		}
		if err := s.AddProtocolAddress(nicID, a, stack.AddressProperties{}); err != nil {
			return err
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}})
	if err := s.SetPromiscuousMode(nicID, true); err != nil {
		return err
	}
	if err := s.SetSpoofing(nicID, true); err != nil {
		return err
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return err
	}
	s.SetTransportProtocolHandler(tcp.ProtocolNumber,
		tcp.NewForwarder(s, 0, maxConnecting, n.connect).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, n.datagram).HandlePacket)
	return nil
}

// Close ends all connections of the guest and waits until nothing of the network is left.
func (n *Network) Close() {
	n.mu.Lock() // for acquire, which adds no connection from now on
	n.cancel()
	n.mu.Unlock()
	n.frames.Close()
	n.running.Wait()
	n.stack.Destroy()
	n.link.Close()
}

// receive passes frames from QEMU to the stack. A frame that no machine sends ends the network.
func (n *Network) receive() {
	defer n.frames.Close()
	r := bufio.NewReaderSize(n.frames, 2*maxFrame)
	var length [4]byte
	for {
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(length[:])
		if size > maxFrame {
			return
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		if leaves(frame) {
			continue
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
		n.link.InjectInbound(0, packet)
		packet.DecRef()
	}
}

// leaves reports whether a frame is an ICMP message to a machine beyond the gateway. The stack
// would answer an echo request itself, and the guest would believe that the other machine did.
func leaves(frame []byte) bool {
	if len(frame) < header.EthernetMinimumSize+header.IPv4MinimumSize ||
		header.Ethernet(frame).Type() != ipv4.ProtocolNumber {
		return false
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	to := netip.AddrFrom4(ip.DestinationAddress().As4())
	return ip.Protocol() == uint8(header.ICMPv4ProtocolNumber) && to != gateway && to != nameServer
}

// send passes frames from the stack to QEMU.
func (n *Network) send() {
	for {
		packet := n.link.ReadContext(n.ctx)
		if packet == nil {
			return
		}
		view := packet.ToView()
		packet.DecRef()
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(view.Size())), view.AsSlice()...)
		view.Release()
		if _, err := n.frames.Write(frame); err != nil {
			return
		}
	}
}

var errUnreachable = errors.New("the guest may not reach this address")

// target returns the address of the host's network that an address of the guest's network stands
// for.
func (n *Network) target(protocol string, addr netip.AddrPort) ([]netip.AddrPort, error) {
	to := addr.Addr()
	switch {
	case to == nameServer && addr.Port() == 53:
		return hostNameServers(), nil
	case to == gateway && n.hostLoopback:
		v4 := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
		if protocol == "udp" {
			return []netip.AddrPort{v4}, nil // an error is known too late to try another
		}
		return []netip.AddrPort{v4, netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())}, nil
	case network.Contains(to), !routed(to):
		return nil, errUnreachable
	}
	return []netip.AddrPort{addr}, nil
}

// routed reports whether an address is of another machine. The kernel takes 0.0.0.0 for its
// loopback, and all of 127.0.0.0/8 is that. Link-local addresses are the host's too: clouds tell a
// host its credentials at 169.254.169.254.
func routed(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] != 0 && a.As4()[0] < 240 &&
		!a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}
