package guesttest

import (
	"testing"

	"wick/framing/client"
)

// testPeer has a process of the guest connect to the agent's port, by the CID of the loopback and
// by the machine's own.
func testPeer(t *testing.T, s *served) {
	s.needLoopback(t)
	put(t, s.conn, "/root/peer", s.fixture.peer)
	run(t, s.conn, "chmod +x /root/peer")
	const rejected = `warn connection rejected, peer is not the host peer="vsock `
	before := s.console.count(rejected)
	for i, cid := range []string{"1", "3"} {
		if got := run(t, s.conn, "/root/peer "+cid+" 1000"); got != "closed after 0 bytes\n" {
			t.Errorf("context %s: %q, want that not even ready is sent", cid, got)
		}
		s.console.await(t, rejected, before+i+1)
	}
	// Many connections at a time must not hinder the host.
	flood := spawn(t, s.conn, "n=0; while [ $n -lt 50 ]; do /root/peer 1 1000 & n=$((n+1)); done; wait")
	var late *client.Client
	for range 5 {
		late = s.dial(t)
		if _, err := late.Ping(deadline(t, stepLimit)); err != nil {
			t.Error(err)
		}
	}
	if e := exit(t, s.conn, flood); e.ExitCode != 0 {
		t.Errorf("the flood ended with %d, stderr %q", e.ExitCode, clip(e.Stderr))
	}
	run(t, late, "rm /root/peer")
}

// needLoopback skips the test if the guest's kernel has no vsock loopback, like Firecracker's.
// Processes of the guest then cannot reach each other's ports or the agent's.
func (s *served) needLoopback(t *testing.T) {
	t.Helper()
	if s.fixture.Kernel.Modules == "" && run(t, s.conn, "grep -c vsock_loopback /proc/kallsyms || :") == "0\n" {
		t.Skip("the guest's kernel has no CONFIG_VSOCKETS_LOOPBACK: unset WICK_KERNEL")
	}
}
