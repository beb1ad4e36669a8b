package network

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// namespace puts the test into a network and a UTS namespace of its own. Its goroutine's thread
// ends with it.
func namespace(t *testing.T) *Service {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("run the tests as root: they make network namespaces")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS); err != nil {
		t.Skipf("unshare: %v (run the tests as root, on a kernel with CONFIG_NET_NS)", err)
	}
	if err := unix.Sethostname([]byte("box.example")); err != nil {
		t.Fatal(err)
	}
	n := &Service{Config: Config{Garbage: new(sys.Garbage)}, etc: t.TempDir()}
	roomtest.WriteFile(t, filepath.Join(n.etc, "hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tbox.example box\n")
	ip(t, "link set lo up")
	return n
}

// ip runs ip(8), which shares no line with the package. A child has its thread's namespaces.
func ip(t *testing.T, command string) string {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("install iproute2: the tests make interfaces with ip")
	}
	out, err := exec.Command(path, strings.Fields(command)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", command, err, out)
	}
	return string(out)
}

// nicFor makes an interface: one end of a veth, for not every kernel has dummies.
func nicFor(t *testing.T, name, mac string) {
	t.Helper()
	ip(t, "link add "+name+" address "+mac+" type veth peer name peer."+name)
}

func set(t *testing.T, n *Service, words ...string) string {
	t.Helper()
	var p plan
	for _, word := range words {
		p.parse(word)
	}
	if p.bad.count > 0 {
		t.Fatalf("Parse(%q): %s", words, p.bad.text)
	}
	return n.apply(&p, nil).text
}

func file(t *testing.T, n *Service, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.etc, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func shown(t *testing.T, n *Service) map[string]string {
	t.Helper()
	facts := map[string]string{}
	var f framing.Facts
	n.AddFacts(&f)
	for name, value := range f.All {
		facts[string(name)] = string(value)
	}
	return facts
}

// want compares what there is with what there should be, IPv6 addresses that the kernel made left
// out.
func want(t *testing.T, n *Service, name, text string) {
	t.Helper()
	var fields []string
	for field := range strings.SplitSeq(shown(t, n)["net."+name], ",") {
		if !strings.HasPrefix(field, "addr=fe80:") {
			fields = append(fields, field)
		}
	}
	if got := strings.Join(fields, ","); got != text {
		t.Errorf("%s is %s, want %s", name, got, text)
	}
}

func TestSet(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	nicFor(t, "eth1", "02:fc:00:00:00:02")
	word := "--net=eth0,addr=10.0.2.15/24,addr=10.0.2.16/24,addr=fd00::2/64,gw=10.0.2.2,gw=fe80::1,route=10.1.2.3/16@10.0.2.3,mtu=1400" // of a route the network counts
	const eth0 = "up,mac=02:fc:00:00:00:01,mtu=1400,addr=10.0.2.15/24,addr=10.0.2.16/24,addr=fd00::2/64,gw=10.0.2.2,route=10.1.0.0/16@10.0.2.3,gw=fe80::1"
	for range 2 { // it is idempotent
		if failed := set(t, n, word, "--dns=10.0.2.3", "--search=a.example,b.example"); failed != "" {
			t.Fatal(failed)
		}
		want(t, n, "eth0", eth0)
		if got := file(t, n, "resolv.conf"); got != mark+"nameserver 10.0.2.3\nsearch a.example b.example\n" {
			t.Errorf("resolv.conf = %q", got)
		}
		if got := file(t, n, "hosts"); got != "127.0.0.1\tlocalhost\n10.0.2.15\tbox.example box\n" {
			t.Errorf("hosts = %q", got)
		}
	}
	for _, text := range []string{ip(t, "-4 route show default"), ip(t, "-6 addr show dev eth0 scope global")} {
		if !strings.Contains(text, "10.0.2.2") && !strings.Contains(text, "fd00::2/64") {
			t.Error(text)
		}
	}
	// Another one replaces it, by MAC, with another MAC and name.
	if failed := set(t, n, "--net=02:fc:00:00:00:02,addr=10.9.0.2/24,gw=10.9.0.1,mac=02:fc:00:00:00:03", "--hostname=clone-7"); failed != "" {
		t.Fatal(failed)
	}
	want(t, n, "eth0", "down,mac=02:fc:00:00:00:01,mtu=1400")
	want(t, n, "eth1", "up,mac=02:fc:00:00:00:03,mtu=1500,addr=10.9.0.2/24,gw=10.9.0.1")
	if got := file(t, n, "resolv.conf"); got != mark {
		t.Errorf("resolv.conf = %q", got)
	}
	if got := file(t, n, "hosts"); got != "127.0.0.1\tlocalhost\n10.9.0.2\tclone-7\n" {
		t.Errorf("hosts = %q", got)
	}
	// Nothing at all.
	if failed := set(t, n); failed != "" {
		t.Fatal(failed)
	}
	want(t, n, "eth1", "down,mac=02:fc:00:00:00:03,mtu=1500")
	if got := file(t, n, "hosts"); got != "127.0.0.1\tlocalhost\n127.0.1.1\tclone-7\n" {
		t.Errorf("hosts = %q", got)
	}
}

// TestSetReplaces changes an interface that another program or the kernel has configured. The new
// address is of the same network, and the route leads to the same gateway.
func TestSetReplaces(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	ip(t, "link set eth0 up")
	ip(t, "addr add 10.0.2.15/24 dev eth0")
	ip(t, "addr add 10.0.2.16/24 dev eth0") // which goes with the first one
	ip(t, "addr add fd00::1/64 dev eth0")
	ip(t, "route add default via 10.0.2.2 metric 7")
	ip(t, "route add 10.7.0.0/16 dev eth0")
	if failed := set(t, n, "--net=eth0,addr=10.0.2.16/24,gw=10.0.2.2"); failed != "" {
		t.Error(failed)
	}
	want(t, n, "eth0", "up,mac=02:fc:00:00:00:01,mtu=1500,addr=10.0.2.16/24,gw=10.0.2.2")
	// The default route moves to another interface.
	nicFor(t, "eth1", "02:fc:00:00:00:02")
	if failed := set(t, n, "--net=eth0,addr=10.0.2.16/24", "--net=eth1,addr=192.0.2.7/32,gw=192.0.2.1"); failed != "" {
		t.Error(failed)
	}
	want(t, n, "eth0", "up,mac=02:fc:00:00:00:01,mtu=1500,addr=10.0.2.16/24")
	want(t, n, "eth1", "up,mac=02:fc:00:00:00:02,mtu=1500,addr=192.0.2.7/32,gw=192.0.2.1")
}

// TestSetTouchesNothing sends no change to the kernel for what is right already. An IPv6 address is
// usable at once.
func TestSetTouchesNothing(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	ip(t, "link set peer.eth0 up")
	words := []string{"--net=eth0,addr=10.0.2.15/24,addr=10.0.2.16/24,addr=fd00::2/64,gw=10.0.2.2,gw=fe80::1,route=10.1.0.0/16,mtu=1400"}
	if failed := set(t, n, words...); failed != "" {
		t.Fatal(failed)
	}
	if got := ip(t, "-6 -o addr show dev eth0 to fd00::2"); got == "" || strings.Contains(got, "tentative") {
		t.Errorf("the address is %q", got)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// IPv6 changes much by itself in these moments.
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		t.Fatal(err)
	}
	if failed := set(t, n, words...); failed != "" {
		t.Fatal(failed)
	}
	buf := make([]byte, 4096)
	if got, err := unix.Read(fd, buf); err != unix.EAGAIN {
		t.Errorf("the kernel tells of a change: %d bytes, %v: % x", got, err, buf[:max(got, 0)])
	}
}

// TestSetLeavesOthers leaves what has a lifetime, as from a router's advertisement, and what is not
// of the main table.
func TestSetLeavesOthers(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	ip(t, "link set eth0 up")
	ip(t, "addr add 10.9.0.1/24 dev eth0 valid_lft 1000 preferred_lft 1000")
	ip(t, "route add 10.77.0.0/16 dev eth0 proto ra")
	ip(t, "route add 10.88.0.0/16 dev eth0 table 100")
	for _, words := range [][]string{{"--net=eth0,addr=10.0.2.15/24"}, {"--net=eth0"}} {
		if failed := set(t, n, words...); failed != "" {
			t.Fatal(failed)
		}
		for command, want := range map[string]string{
			"-4 -o addr show dev eth0":      "10.9.0.1/24",
			"route show dev eth0":           "10.77.0.0/16",
			"route show dev eth0 table 100": "10.88.0.0/16",
		} {
			if got := ip(t, command); !strings.Contains(got, want) {
				t.Errorf("%q: ip %s prints %q, want %s", words, command, got, want)
			}
		}
	}
}

// TestSetFailures does all that can be done.
func TestSetFailures(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	failed := set(t, n, "--net=eth7,addr=10.7.0.1/24", "--net=02:fc:00:00:00:99", "--net=eth0,addr=10.0.0.1/24", "--net=02:fc:00:00:00:01,addr=10.1.0.1/24")
	const all = "configure eth7: no such device; configure 02:fc:00:00:00:99: no such device; configure 02:fc:00:00:00:01: file exists"
	if failed != all {
		t.Errorf("failed: %s", failed)
	}
	want(t, n, "eth0", "up,mac=02:fc:00:00:00:01,mtu=1500,addr=10.0.0.1/24")
	if got := shown(t, n)["degraded.network"]; got != all {
		t.Errorf("degraded.network is %q", got)
	}
	// The kernel's own no is one too. A file system that cannot be written to keeps no interface
	// down.
	etc := n.etc
	n.etc = "/proc/sys/none"
	failed = set(t, n, "--net=eth0,addr=10.0.0.1/24,route=10.8.0.0/16@127.0.0.1", "--dns=10.0.0.3")
	for _, part := range []string{"add route=10.8.0.0/16@127.0.0.1 eth0: invalid argument", "write /proc/sys/none/resolv.conf: no such file"} {
		if !strings.Contains(failed, part) {
			t.Errorf("failed: %s, want %s", failed, part)
		}
	}
	n.etc = etc
	failed = set(t, n, "--net=eth0,addr=10.0.0.1/24,gw=10.0.0.2,gw=10.0.0.3")
	if failed != "add gw=10.0.0.3 eth0: file exists" {
		t.Errorf("a second gateway: %s", failed)
	}
	if failed := set(t, n, "--net=eth0,addr=10.0.0.1/24"); failed != "" {
		t.Error(failed)
	}
	if got := shown(t, n)["degraded.network"]; got != "" {
		t.Errorf("degraded.network is %q", got)
	}
}

// TestSetLeavesFiles leaves what is not its own.
func TestSetLeavesFiles(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	const theirs = "nameserver 192.0.2.1\n"
	roomtest.WriteFile(t, filepath.Join(n.etc, "resolv.conf"), theirs)
	os.Remove(filepath.Join(n.etc, "hosts"))
	if failed := set(t, n, "--net=eth0,addr=10.0.0.1/24"); failed != "" {
		t.Error(failed)
	}
	if got := file(t, n, "resolv.conf"); got != theirs {
		t.Errorf("resolv.conf = %q", got)
	}
	if got := file(t, n, "hosts"); got != "10.0.0.1\tbox.example box\n" {
		t.Errorf("hosts = %q", got)
	}
	// A link that leads nowhere, as in systemd's images, is replaced, and so is a FIFO, without a
	// wait.
	path := filepath.Join(n.etc, "resolv.conf")
	for _, make := range []func() error{
		func() error { return os.Symlink("../run/none/stub-resolv.conf", path) },
		func() error { return unix.Mkfifo(path, 0o600) },
	} {
		os.Remove(path)
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if failed := set(t, n, "--net=eth0,addr=10.0.0.1/24", "--dns=10.0.0.2"); failed != "" {
			t.Error(failed)
		}
		if got := file(t, n, "resolv.conf"); got != mark+"nameserver 10.0.0.2\n" {
			t.Errorf("resolv.conf = %q", got)
		}
	}
	// A mount point keeps its mount.
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "mounted")
	os.WriteFile(source, nil, 0o644)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	if failed := set(t, n, "--net=eth0", "--dns=10.0.0.9"); failed != "" {
		t.Error(failed)
	}
	if b, _ := os.ReadFile(source); string(b) != mark+"nameserver 10.0.0.9\n" {
		t.Errorf("the mounted file is %q", b)
	}
}

// TestSetWhileConnected keeps a connection alive over an address that stays, while all else
// changes.
func TestSetWhileConnected(t *testing.T) {
	n := namespace(t)
	// Both ends in one namespace: the connection is over addresses of the same machine, which the
	// kernel takes away as it would any other.
	ip(t, "link add eth0 address 02:fc:00:00:00:01 type veth peer name eth1")
	if failed := set(t, n, "--net=eth0,addr=10.0.0.1/24,addr=10.0.1.1/24", "--net=eth1,addr=10.0.2.1/24"); failed != "" {
		t.Fatal(failed)
	}
	l, err := net.Listen("tcp", "10.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if failed := set(t, n, "--net=eth0,addr=10.0.0.1/24,addr=10.0.3.1/24,mtu=1400,gw=10.0.0.2,mac=02:fc:00:00:00:07", "--dns=10.0.0.2"); failed != "" {
		t.Fatal(failed)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	want(t, n, "eth0", "up,mac=02:fc:00:00:00:07,mtu=1400,addr=10.0.0.1/24,addr=10.0.3.1/24,gw=10.0.0.2")
}
