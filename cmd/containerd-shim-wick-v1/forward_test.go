package main

import (
	"net"
	"testing"
)

// TestDivert connects to ports of a network namespace that nothing listens on, by IPv4 and IPv6.
func TestDivert(t *testing.T) {
	t.Parallel()
	ns, ip := newNamespace(t, "divert")
	ip(true, "link set lo up")
	f, err := newForwarder("/run/netns/" + ns)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, address := range []string{"127.0.0.1:4321", "[::1]:80"} {
		err := inNamespace("/run/netns/"+ns, func() error {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err != nil {
			t.Fatalf("dial %s: %v", address, err)
		}
		conn, err := f.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, want, _ := net.SplitHostPort(address); portOf(conn) != want {
			t.Errorf("the connection to %s is to port %s", address, portOf(conn))
		}
		conn.Close()
	}
}
