package usernet

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const limit = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

// guest is the machine on the other end. Its frames go the way of QEMU's.
type guest struct {
	*Network // for its link, stack and loops alone
	network  *Network
}

func start(t *testing.T, hostLoopback bool) *guest {
	t.Helper()
	ours, theirs := pair(t)
	n, err := New(ours, hostLoopback)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{network: n, Network: &Network{
		frames: theirs, link: channel.New(queue, mtu+header.EthernetMinimumSize, "\x02\x00\x00\x00\x00\x01"),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
	}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.stack.CreateNIC(nicID, ethernet.New(g.link)); err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix(Guest)
	addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{
		Address: tcpip.AddrFrom4(prefix.Addr().As4()), PrefixLen: prefix.Bits()}}
	if err := g.stack.AddProtocolAddress(nicID, addr, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID,
		Gateway: tcpip.AddrFrom4(gateway.As4())}})
	g.running.Go(g.receive)
	g.running.Go(g.send)
	t.Cleanup(func() {
		n.Close()
		g.Close()
	})
	return g
}

func full(to netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: to.Port()}
}

func (g *guest) dial(to netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return gonet.DialContextTCP(ctx, g.stack, full(to), ipv4.ProtocolNumber)
}

// address returns an address of this host beyond its loopback.
func address(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && routed(prefix.Addr()) && !network.Contains(prefix.Addr()) {
			return prefix.Addr()
		}
	}
	t.Skip("give this host an IPv4 address beside its loopback: ip addr add 192.0.2.1/32 dev lo")
	return netip.Addr{}
}

// serve accepts connections at an address of this host.
func serve(t *testing.T, addr string, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(limit))
			handle(c.(*net.TCPConn))
			c.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func echo(c *net.TCPConn) { io.Copy(c, c) }

// TestTCP sends data both ways, and half-closes.
func TestTCP(t *testing.T) {
	t.Parallel()
	to := serve(t, address(t).String(), echo)
	g := start(t, false)
	c, err := g.dial(to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]byte, 8<<20)
	rand.Read(sent)
	written := make(chan error)
	go func() {
		_, err := c.Write(sent)
		written <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-written); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("echo of %d bytes has %d, %v", len(sent), len(got), err)
	}
}

// TestReset passes a reset on, in both directions.
func TestReset(t *testing.T) {
	t.Parallel()
	begun, result := make(chan error, 1), make(chan error, 1)
	to := serve(t, address(t).String(), func(c *net.TCPConn) {
		_, err := io.ReadFull(c, make([]byte, 1))
		begun <- err
		_, err = c.Read(make([]byte, 1))
		result <- err
	})
	g := start(t, false)
	c, err := g.dial(to)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("x"))
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	g.network.Close() // as the machine's end
	if err := <-result; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the host's connection ended with %v, want a reset", err)
	}
	c.Close()

	to = serve(t, address(t).String(), func(c *net.TCPConn) { c.SetLinger(0) })
	g = start(t, false)
	if c, err = g.dial(to); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("read from a reset connection: %v", err)
		}
		c.Close()
	}
}

// TestHostLoopback keeps the guest from the host's loopback, whatever address it sends to, until it
// is asked for.
func TestHostLoopback(t *testing.T) {
	t.Parallel()
	port := serve(t, "127.0.0.1", func(c *net.TCPConn) { c.Write([]byte("loopback")) }).Port()
	g, open := start(t, false), start(t, true)
	for _, to := range []string{"10.0.2.2", "10.0.2.3", "10.0.2.9", "127.0.0.1", "127.9.9.9", "0.0.0.0", "0.0.0.1", "255.255.255.255", "224.0.0.1", "169.254.169.254"} {
		addr := netip.MustParseAddr(to)
		if targets, err := g.network.target("tcp", netip.AddrPortFrom(addr, port)); err == nil {
			t.Errorf("the guest's %s is %v", to, targets)
		}
		if addr.IsMulticast() || addr.IsUnspecified() || to == "255.255.255.255" || addr.IsLoopback() || to == "10.0.2.9" {
			continue // the guest's own stack does not send to it
		}
		if c, err := g.dial(netip.AddrPortFrom(addr, port)); err == nil {
			c.Close()
			t.Errorf("the guest connected to %s", to)
		}
	}
	c, err := open.dial(netip.AddrPortFrom(gateway, port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "loopback" {
		t.Errorf("read from the host's loopback: %q, %v", got, err)
	}
}

// TestUDP exchanges datagrams. A flow that ends leaves nothing behind.
func TestUDP(t *testing.T) {
	t.Parallel()
	host, err := net.ListenPacket("udp", net.JoinHostPort(address(t).String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	host.SetDeadline(time.Now().Add(limit))
	g := start(t, false)
	to := full(netip.MustParseAddrPort(host.LocalAddr().String()))
	c, err := gonet.DialUDP(g.stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	buf := make([]byte, 2000)
	for i := range 3 {
		sent := bytes.Repeat([]byte{byte(i)}, 1000*i+1)
		if len(sent) > mtu-28 {
			sent = sent[:mtu-28]
		}
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		n, from, err := host.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], sent) {
			t.Fatalf("the host got %d bytes, %v, want %d", n, err, len(sent))
		}
		if _, err := host.WriteTo(buf[:n], from); err != nil {
			t.Fatal(err)
		}
		if n, err = c.Read(buf); err != nil || !bytes.Equal(buf[:n], sent) {
			t.Fatalf("the guest got %d bytes, %v, want %d", n, err, len(sent))
		}
	}
}

// TestBadFrames ends the network at a frame that no machine sends, and takes short ones.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	for _, frame := range [][]byte{{}, {1}, make([]byte, 14), make([]byte, 60), append(make([]byte, 12), 8, 0, 0x45)} {
		ours, theirs := pair(t)
		n, err := New(ours, false)
		if err != nil {
			t.Fatal(err)
		}
		theirs.Write(append([]byte{0, 0, 0, byte(len(frame))}, frame...))
		theirs.Write([]byte{0xff, 0xff, 0xff, 0xff})
		theirs.SetDeadline(time.Now().Add(limit))
		if _, err := io.Copy(io.Discard, theirs); err != nil {
			t.Errorf("after the frame %x: %v", frame, err)
		}
		n.Close()
		theirs.Close()
	}
}

// TestLimit refuses the connections and flows above the limit, and takes more when some have ended.
func TestLimit(t *testing.T) {
	t.Parallel()
	to := serve(t, address(t).String(), func(c *net.TCPConn) { c.Write([]byte("x")) })
	g := start(t, false)
	n := g.network
	for range maxConnections {
		if !n.acquire() {
			t.Fatal("the limit is lower")
		}
	}
	if c, err := g.dial(to); err == nil {
		c.Close()
		t.Error("a connection above the limit succeeded")
	}
	n.release()
	c, err := g.dial(to)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
		t.Errorf("read %q, %v", got, err)
	}
	c.Close()
	for range maxConnections - 1 {
		n.release()
	}
}
