package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// newNamespace makes a network namespace and returns its name. ip calls ip in it, or outside.
func newNamespace(t *testing.T, name string) (ns string, ip func(inside bool, args string)) {
	t.Helper()
	ns = fmt.Sprintf("wick-%s-%d", name, os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Skipf("ip netns add: %v: %s; the test needs root and iproute2", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	return ns, func(inside bool, args string) {
		t.Helper()
		words := strings.Fields(args)
		if inside {
			words = append([]string{"-n", ns}, words...)
		}
		if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", words, err, out)
		}
	}
}

// noTaps checks that the shim has left a network namespace as it was.
func noTaps(t *testing.T, ns string) {
	t.Helper()
	if links, err := exec.Command("ip", "-n", ns, "link").Output(); err != nil || strings.Contains(string(links), tapPrefix) {
		t.Errorf("the namespace still has %s, or %v:\n%s", tapPrefix, err, links)
	}
	if qdiscs, _ := exec.Command("tc", "-n", ns, "qdisc").Output(); strings.Contains(string(qdiscs), "ingress") {
		t.Errorf("the namespace still has %s", qdiscs)
	}
}

// TestNetwork gives a container the two interfaces that a network namespace has, as CNI plugins
// make them, with IPv4 and IPv6.
func TestNetwork(t *testing.T) {
	d := containerd(t)
	ns, ip := newNamespace(t, "net")
	for i, mtu := range []int{1500, 1400} {
		outer, inner := fmt.Sprintf("wt%d%d", i, os.Getpid()), []string{"eth0", "net1"}[i]
		ip(false, fmt.Sprintf("link add %s mtu %d type veth peer name %s mtu %d netns %s", outer, mtu, inner, mtu, ns))
		ip(false, fmt.Sprintf("addr add 10.213.%d.1/24 dev %s", 77+i, outer))
		ip(false, fmt.Sprintf("addr add fd77:%d::1/64 dev %s nodad", i, outer))
		ip(false, "link set "+outer+" up")
		ip(true, fmt.Sprintf("addr add 10.213.%d.5/24 dev %s", 77+i, inner))
		ip(true, fmt.Sprintf("addr add fd77:%d::5/64 dev %s nodad", i, inner))
		ip(true, "link set "+inner+" up")
	}
	for _, route := range []string{
		"default via 10.213.77.1", "10.99.0.0/16 via 10.213.78.1", "10.98.0.0/16 dev net1",
		"10.99.0.0/16 via 10.213.77.1 metric 700", "default via fd77:0::1", "fd99::/48 via fd77:1::1",
	} {
		ip(true, "route add "+route)
	}
	out := d.run(t, 0, "--with-ns", "network:/run/netns/"+ns, testImage, "network1", "sh", "-c",
		`ip -o addr | tr -s ' '; cat /sys/class/net/eth?/mtu; ip route; ip -6 route
		for a in 10.213.77.1 10.213.78.1 fd77:0::1 fd77:1::1; do ping -c 1 $a >/dev/null && echo reached $a; done`)
	for _, want := range []string{
		"eth0 inet 10.213.77.5/24", "eth1 inet 10.213.78.5/24", "eth0 inet6 fd77::5/64", "eth1 inet6 fd77:1::5/64",
		"1500\n1400\n", "default via 10.213.77.1 dev eth0", "10.99.0.0/16 via 10.213.78.1 dev eth1", "10.98.0.0/16 dev eth1",
		"default via fd77::1 dev eth0", "fd99::/48 via fd77:1::1 dev eth1",
		"reached 10.213.77.1\nreached 10.213.78.1\nreached fd77:0::1\nreached fd77:1::1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %s\nwant %q in it", out, want)
		}
	}
	d.clean(t, "network1")
	noTaps(t, ns)
}

// TestNetworkRefused has in a network namespace what a machine cannot have.
func TestNetworkRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, add, want string }{
		{"multipath", "route add 10.1.0.0/16 nexthop via 10.213.79.1 nexthop via 10.213.79.2", "the route to 10.1.0.0/16: it has several gateways"},
		{"blackhole", "route add blackhole 10.2.0.0/16", "the route to 10.2.0.0/16: it drops what it matches"},
		{"table", "route add fd00::/16 dev eth0 table 100", "the route to fd00::/16: it is in table 100"},
		{"neighbour", "neigh add 10.213.79.9 lladdr 02:00:00:00:00:01 dev eth0", "the fixed hardware address of 10.213.79.9"},
		{"tun", "tuntap add dev tun1 mode tun; link set tun1 up", "the interface tun1: it has no Ethernet address"},
		{"down", "link add net1 type veth peer name net2", ""}, // an interface that is down does not count
	} {
		ns, ip := newNamespace(t, test.name)
		ip(true, "link add eth0 type veth peer name peer0")
		ip(true, "addr add 10.213.79.5/24 dev eth0")
		ip(true, "link set eth0 up")
		for command := range strings.SplitSeq(test.add, "; ") {
			ip(true, command)
		}
		w, err := joinNetwork("/run/netns/" + ns)
		switch {
		case test.want == "" && (err != nil || len(w.taps) != 1):
			t.Errorf("%s: %q, %v; want one interface", test.name, w.taps, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
		if err := leaveNetwork("/run/netns/" + ns); err != nil {
			t.Errorf("%s: leave: %v", test.name, err)
		}
		noTaps(t, ns)
	}
}
