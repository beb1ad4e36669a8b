package guesttest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// connected returns the configuration of a machine with a network interface.
func connected(t *testing.T, l *fixture, n *vmm.Net) *config {
	t.Helper()
	c := usual(t, l)
	var err error
	c.Initramfs, err = l.InitramfsWith(deadline(t, stepLimit), "virtio_net")
	if err != nil {
		t.Fatal(err)
	}
	c.Net = n
	c.InitArgs = n.InitArgs()
	return c
}

// hostAddress returns an address of this host that a guest can reach.
func hostAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr().String()
		}
	}
	t.Skip("give this host an IPv4 address beside its loopback: ip addr add 192.0.2.1/32 dev lo")
	return ""
}

// server is a server on this host. It answers each connection with its lines, one for one.
type server struct{ net.Listener }

// listenOn starts a server at an address of this host.
func listenOn(t *testing.T, addr string) server {
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
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(2 * stepLimit))
				for in := bufio.NewScanner(c); in.Scan(); {
					fmt.Fprintln(c, "you said "+in.Text())
				}
			}()
		}
	}()
	return server{l}
}

func (s server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return port
}

// says returns the command that says a word to a server and prints its answer.
func says(word, addr, port string) string {
	return fmt.Sprintf("echo %s | timeout 30 nc %s %s", word, addr, port)
}

// TestNetworkUser boots a machine with --net user. It reaches the host, and not the host's
// loopback. Another configuration replaces the first one, with words that cannot be taken beside
// it, while a connection lives; then it is given what a clone is given after a restore.
func TestNetworkUser(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	address := hostAddress(t)
	beyond, loopback := listenOn(t, address), listenOn(t, "127.0.0.1")
	c := connected(t, l, &vmm.Net{})
	c.InitArgs = append(c.InitArgs, "--net=eth9,addr=10.9.9.9/24", "--net=eth0,up", "--net=eth7,mtu=x", "--net=", "--net=lo", "--net=eth8,gw=10.0.2", "--dns=example", "--search")
	v, conn := boot(t, l, c)
	if got := run(t, conn, says("one", address, beyond.port())); got != "you said one\n" {
		t.Errorf("the host's server answers %q", got)
	}
	for _, addr := range []string{"10.0.2.2", "10.0.2.3", "127.0.0.1"} {
		r := result(t, conn, client.Exec{Command: says("two", addr, loopback.port())})
		if r.ExitCode == 0 || len(r.Stdout) > 0 {
			t.Errorf("the host's loopback answers at %s: exit code %d, %q", addr, r.ExitCode, r.Stdout)
		}
	}
	// The guest sends packets for 127.0.0.0/8 over the wire.
	const odd = "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 10.0.2.2; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; "
	if r := result(t, conn, client.Exec{Command: odd + strings.Replace(says("three", "127.0.0.1", loopback.port()), "30", "3", 1)}); r.ExitCode == 0 || len(r.Stdout) > 0 {
		t.Errorf("the host's loopback answers on the wire: %q", r.Stdout)
	}
	if got := run(t, conn, "cat /etc/resolv.conf; grep -c '^10.0.2.15.wick' /etc/hosts"); !strings.HasSuffix(got, "nameserver 10.0.2.3\n1\n") {
		t.Errorf("the files of /etc have %q", got)
	}
	facts, shown := factsOf(t, conn), map[string]string{}
	list, err := conn.Network(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		shown[f.Name] = f.Value
	}
	if got := facts["net.eth0"]; !strings.HasPrefix(got, "up,mac="+c.Net.MAC()+",mtu=1500,addr=10.0.2.15/24") || !strings.Contains(got, ",gw=10.0.2.2") {
		t.Errorf("net.eth0 is %q", got)
	}
	for _, part := range []string{"configure eth9: no such device", "second configuration of eth0", "mtu=x: want mtu= of 68", "--net=: want --net=", "--net=lo: want the name", "--dns=example: "} {
		if got := shown["degraded.network"]; !strings.Contains(got, part) {
			t.Errorf("degraded.network is %q, want %q in it", got, part)
		}
	}
	v.console.await(t, "network not configured", 1)

	// A connection over an address that stays lives on.
	run(t, conn, "mkfifo /run/say; (nc "+address+" "+beyond.port()+" </run/say >/run/said 2>&1 &) ; exec 3>/run/say; (sleep 1000 >&3 2>&1 &) ; echo before >&3")
	until(t, conn, "grep before /run/said")
	set := client.Network{
		Interfaces: []string{"eth0,addr=10.0.2.15/24,addr=10.0.2.20/24,gw=10.0.2.2,mtu=1400"},
		DNS:        []string{"10.0.2.3"}, Search: []string{"a.example"},
	}
	if err := conn.SetNetwork(deadline(t, stepLimit), set); err != nil {
		t.Error(err)
	}
	run(t, conn, "echo after >/run/say")
	until(t, conn, "grep after /run/said")
	if got := factsOf(t, conn)["degraded.network"]; got != "" {
		t.Errorf("degraded.network is %q", got)
	}

	// The files of /etc cannot be written while the disk is frozen.
	if err := conn.Freeze(deadline(t, stepLimit), stepLimit); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetNetwork(deadline(t, stepLimit), set); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("with a frozen disk: %v, want EBUSY", err)
	}
	if err := conn.Thaw(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}

	// A clone gets entropy and time, an address, a MAC address and a name of its own.
	if _, err := conn.Restore(deadline(t, stepLimit), time.Now(), make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	clone := client.Network{
		Interfaces: []string{"eth0,mac=02:fc:00:00:00:07,addr=10.0.2.7/24,gw=10.0.2.2"}, DNS: []string{"10.0.2.3"}, Hostname: "clone-7",
	}
	if err := conn.SetNetwork(deadline(t, stepLimit), clone); err != nil {
		t.Error(err)
	}
	if got := run(t, conn, says("four", address, beyond.port())); got != "you said four\n" {
		t.Errorf("the host's server answers the clone %q", got)
	}
	const state = "hostname; ip -o -4 addr show dev eth0 | grep -o 'inet [^ ]*'; cat /sys/class/net/eth0/address; grep -c '^10.0.2.7.clone-7$' /etc/hosts"
	if got, want := run(t, conn, state), "clone-7\ninet 10.0.2.7/24\n02:fc:00:00:00:07\n1\n"; got != want {
		t.Errorf("the clone has %q, want %q", got, want)
	}
	err = conn.SetNetwork(deadline(t, stepLimit), client.Network{Interfaces: []string{"eth0,addr=10.0.2.7/24", "eth5"}})
	if failed, ok := err.(*client.OpError); !ok || !strings.Contains(failed.Error(), "configure eth5: no such device") {
		t.Errorf("a missing interface: %v", err)
	}
}

func factsOf(t *testing.T, conn *client.Client) map[string]string {
	t.Helper()
	h, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]string{}
	for _, f := range h.Facts {
		facts[f.Name] = f.Value
	}
	return facts
}

// TestNetworkHostLoopback boots a machine with --net user,host-loopback, which the kernel's own
// words configure. They reach no command.
func TestNetworkHostLoopback(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	loopback := listenOn(t, "127.0.0.1")
	c := connected(t, l, &vmm.Net{HostLoopback: true})
	c.InitArgs = nil
	c.Cmdline = []string{"ip=10.0.2.16:10.0.2.4:10.0.2.2:255.255.255.0:box:eth0:off:10.0.2.3:10.0.2.5:10.0.2.6"}
	_, conn := boot(t, l, c)
	if got := run(t, conn, says("one", "10.0.2.2", loopback.port())); got != "you said one\n" {
		t.Errorf("the host's loopback answers %q", got)
	}
	if got := run(t, conn, "tail -n 2 /etc/resolv.conf; grep -c '^10.0.2.16.wick$' /etc/hosts; env | grep -c '^ip='; true"); got != "nameserver 10.0.2.3\nnameserver 10.0.2.5\n1\n0\n" {
		t.Errorf("the guest has %q", got)
	}
}

// TestNetworkTap boots a machine on a tap device.
func TestNetworkTap(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	if os.Getuid() != 0 {
		t.Skip("run the tests as root: this one makes a tap device")
	}
	name := fmt.Sprintf("wick%d", os.Getpid())
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s (install iproute2; load the module tun)", args, err, out)
		}
	}
	ip("tuntap add " + name + " mode tap")
	t.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
	ip("addr add 198.51.100.1/24 dev " + name)
	ip("link set " + name + " up")
	s := listenOn(t, "198.51.100.1")
	n, err := vmm.ParseNet("tap=" + name + ",addr=198.51.100.2/24,addr=2001:db8::2/64,gw=198.51.100.1")
	if err != nil {
		t.Fatal(err)
	}
	_, conn := boot(t, l, connected(t, l, n))
	if got := run(t, conn, says("one", "198.51.100.1", s.port())); got != "you said one\n" {
		t.Errorf("the host's server answers %q", got)
	}
	if got := factsOf(t, conn)["net.eth0"]; !strings.HasPrefix(got, "up,mac="+n.MAC()+",mtu=1500,addr=198.51.100.2/24,addr=2001:db8::2/64") {
		t.Errorf("net.eth0 is %q", got)
	}
}
