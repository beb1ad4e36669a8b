package usernet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxConnections limits the connections and UDP flows of a guest.
	maxConnections = 1024
	// maxConnecting limits those that are being established.
	maxConnecting = 256
	connectLimit  = 15 * time.Second
	// udpIdle is how long a UDP flow lives without a datagram.
	udpIdle = 60 * time.Second
)

// acquire reports whether the guest may have another connection. Each needs a release.
func (n *Network) acquire() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || n.connections == maxConnections {
		return false
	}
	n.connections++
	n.running.Add(1)
	return true
}

func (n *Network) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connections--
	n.running.Done()
}

// local returns the address that the guest connects to.
func local(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

// dial connects with what an address of the guest stands for.
func (n *Network) dial(protocol string, addr netip.AddrPort) (net.Conn, error) {
	targets, err := n.target(protocol, addr)
	if err != nil {
		return nil, err
	}
	err = errUnreachable
	d := net.Dialer{Timeout: connectLimit}
	for _, to := range targets {
		var c net.Conn
		if c, err = d.DialContext(n.ctx, protocol, to.String()); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// connect establishes a TCP connection of the guest. The stack calls it on a goroutine of its own.
func (n *Network) connect(r *tcp.ForwarderRequest) {
	if !n.acquire() {
		r.Complete(true)
		return
	}
	defer n.release()
	host, err := n.dial("tcp", local(r.ID()))
	if err != nil {
		r.Complete(true) // a reset
		return
	}
	defer host.Close()
	var events waiter.Queue
	end, failed := r.CreateEndpoint(&events)
	r.Complete(failed != nil)
	if failed != nil {
		return
	}
	guest := gonet.NewTCPConn(&events, end)
	defer guest.Close()
	join(n.ctx, host.(*net.TCPConn), guest, end)
}

// join copies between the two connections until both directions have ended. A failure of one
// connection resets the other.
func join(ctx context.Context, host *net.TCPConn, guest *gonet.TCPConn, end tcpip.Endpoint) {
	reset := func() {
		host.SetLinger(0)
		host.Close()
		end.Abort()
	}
	stop := context.AfterFunc(ctx, reset)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(host, guest); err != nil || host.CloseWrite() != nil {
			reset()
		}
	}()
	if _, err := io.Copy(guest, host); err != nil || guest.CloseWrite() != nil {
		reset()
	}
	<-done
}

// datagram starts a UDP flow of the guest. The stack delivers the flow's later datagrams itself.
func (n *Network) datagram(r *udp.ForwarderRequest) bool {
	targets, err := n.target("udp", local(r.ID()))
	if err != nil || len(targets) == 0 || !n.acquire() {
		return false // the guest gets an ICMP message
	}
	var events waiter.Queue
	end, failed := r.CreateEndpoint(&events)
	if failed != nil {
		n.release()
		return true
	}
	go func() {
		defer n.release()
		n.exchange(gonet.NewUDPConn(&events, end), targets[0])
	}()
	return true
}

// exchange copies datagrams in both directions until none has come for a while.
func (n *Network) exchange(guest *gonet.UDPConn, to netip.AddrPort) {
	defer guest.Close()
	c, err := net.Dial("udp", to.String())
	if err != nil {
		return
	}
	defer c.Close()
	var mu sync.Mutex
	ended := false
	extend := func(end bool) {
		mu.Lock()
		defer mu.Unlock()
		deadline := time.Now()
		if ended = ended || end; !ended {
			deadline = deadline.Add(udpIdle)
		}
		c.SetReadDeadline(deadline)
		guest.SetReadDeadline(deadline)
	}
	extend(false)
	stop := context.AfterFunc(n.ctx, func() { extend(true) })
	defer stop()
	// The failure of a datagram, such as a refused one, ends the flow. The next one of the guest
	// starts another.
	datagrams := func(to, from net.Conn) {
		defer extend(true)
		buf := make([]byte, maxFrame)
		for {
			size, err := from.Read(buf)
			if err != nil {
				return
			}
			to.Write(buf[:size])
			extend(false)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		datagrams(c, guest)
	}()
	datagrams(guest, c)
	<-done
}

// hostNameServers returns the host's name servers, of which the first that answers is used.
func hostNameServers() (servers []netip.AddrPort) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53))
		}
	}
	return servers
}
