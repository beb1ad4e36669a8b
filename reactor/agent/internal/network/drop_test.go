package network

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/roomtest"
)

// pair has a program connect to itself over an address. The log gets how each end has ended.
func pair(t *testing.T, address, log string) {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("install python3: it has the connections of the test")
	}
	const program = `
import os, socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
l = socket.socket(family)
l.bind((sys.argv[1], 0))
l.listen()
a = socket.create_connection(l.getsockname()[:2])
b = l.accept()[0]
print("connected", flush=True)
for s in (a, b):
	try:
		s.recv(1)
		print("ended", flush=True)
	except OSError as e:
		print(e.errno, flush=True)
`
	c := exec.Command(path, "-c", program, address)
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.Stdout = f
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	roomtest.WaitFor(t, "the pair is connected", func() bool { return read(t, log) == "connected\n" })
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDropConnections drops connections over addresses of both families, but not those over a
// loopback address, and not those that this process has.
func TestDropConnections(t *testing.T) {
	n := namespace(t)
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	ip(t, "addr add 10.9.0.1/24 dev eth0")
	ip(t, "addr add fd09::1/64 dev eth0 nodad")
	ip(t, "link set eth0 up")
	ip(t, "link set peer.eth0 up")
	dir := t.TempDir()
	for name, address := range map[string]string{
		"v4": "10.9.0.1", "v6": "fd09::1", "lo4": "127.0.0.1", "lo6": "::1",
	} {
		pair(t, address, dir+"/"+name)
	}
	l, err := net.Listen("tcp", "10.9.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	dropped, err := n.DropConnections()
	if errors.Is(err, unix.EOPNOTSUPP) && strings.Contains(err.Error(), "CONFIG_INET_DIAG_DESTROY") {
		t.Skip("a kernel with CONFIG_INET_DIAG_DESTROY:", err)
	}
	if err != nil || dropped != 2 {
		t.Errorf("DropConnections() = %d, %v, want 2: the other ends get a reset", dropped, err)
	}
	for _, name := range []string{"v4", "v6"} {
		roomtest.WaitFor(t, name+" is told", func() bool {
			got := read(t, dir+"/"+name) // ECONNABORTED at one end, ECONNRESET at the other
			return got == "connected\n103\n104\n" || got == "connected\n104\n103\n"
		})
	}
	for _, name := range []string{"lo4", "lo6"} {
		if got := read(t, dir+"/"+name); got != "connected\n" {
			t.Errorf("%s: %q, want it connected", name, got)
		}
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	own.SetDeadline(time.Now().Add(roomtest.Patience))
	other.Write([]byte("x"))
	if n, err := own.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the connection of this process: %v", err)
	}
	if dropped, err := n.DropConnections(); dropped != 0 || err != nil {
		t.Errorf("again: %d, %v, want 0", dropped, err)
	}
}

// TestDropUnheard drops connections while their interface is down. The far end, which may be that
// of the machine's twin too, gets no reset.
func TestDropUnheard(t *testing.T) {
	n := namespace(t)
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("install python3: it has the connections of the test")
	}
	nicFor(t, "eth0", "02:fc:00:00:00:01")
	const far = `
import os, socket, sys
sys.stdin.readline()
for a in ("10.9.0.2/24", "fd09::2/64"):
	os.system("ip addr add " + a + " dev peer.eth0" + (" nodad" if ":" in a else ""))
os.system("ip link set peer.eth0 up")
servers = []
for family, a in ((socket.AF_INET, "10.9.0.2"), (socket.AF_INET6, "fd09::2")):
	l = socket.socket(family)
	l.bind((a, 7000))
	l.listen()
	servers.append(l)
print("up", flush=True)
old = [l.accept()[0] for l in servers]
print("connected", flush=True)
for l in servers:
	l.accept() # what was sent before is here
for s in old:
	s.setblocking(False)
	try:
		s.recv(1)
		print("ended", flush=True)
	except OSError as e:
		print(e.errno, flush=True)
`
	const near = `
import socket
for s in [socket.create_connection((a, 7000)) for a in ("10.9.0.2", "fd09::2")]:
	try:
		s.recv(1)
	except OSError as e:
		print(e.errno, flush=True)
`
	log := t.TempDir() + "/far"
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	server := exec.Command("unshare", "-n", path, "-c", far)
	server.Stdout = f
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Skip("apt-get install util-linux:", err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	pid := strconv.Itoa(server.Process.Pid)
	roomtest.WaitFor(t, "the far end has a namespace", func() bool {
		other, err := os.Readlink("/proc/" + pid + "/ns/net")
		return err == nil && other != own
	})
	ip(t, "link set peer.eth0 netns "+pid)
	set(t, n, "--net=eth0,addr=10.9.0.1/24,addr=fd09::1/64")
	in.Write([]byte("\n"))
	roomtest.WaitFor(t, "the far end is up", func() bool { return read(t, log) == "up\n" })
	client := exec.Command(path, "-c", near)
	var out strings.Builder
	client.Stdout = &out
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	roomtest.WaitFor(t, "they are connected", func() bool { return read(t, log) == "up\nconnected\n" })

	var c Configuration
	if err := c.Add("--net=eth0,addr=10.9.0.7/24,addr=fd09::7/64"); err != nil {
		t.Fatal(err)
	}
	dropped, notDropped := 0, error(nil)
	if failed, err := n.Apply(&c, func() { dropped, notDropped = n.DropConnections() }); failed != 0 || err != nil {
		t.Fatal(failed, err)
	}
	if errors.Is(notDropped, unix.EOPNOTSUPP) {
		t.Skip("a kernel with CONFIG_INET_DIAG_DESTROY:", notDropped)
	}
	if client.Wait(); dropped != 2 || notDropped != nil || out.String() != "103\n103\n" {
		t.Errorf("%d dropped, %v; the programs got %q; want 2 and ECONNABORTED", dropped, notDropped, out.String())
	}
	again := exec.Command(path, "-c", near)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	roomtest.WaitFor(t, "the far end has looked", func() bool { return strings.Count(read(t, log), "\n") == 4 })
	if got, want := read(t, log), "up\nconnected\n11\n11\n"; got != want { // EAGAIN: nothing was heard
		t.Errorf("the far end: %q, want %q", got, want)
	}
	again.Process.Kill()
	again.Wait()
}
