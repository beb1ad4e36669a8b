package guesttest

import (
	"flag"
	"testing"
)

var allOfARM64 = flag.Bool("guesttest.arm64", false, "TestARM64 does what takes minutes as well")

// TestARM64 runs the tests of the host's architecture on a machine of the other. On an arm64 host
// it repeats them.
func TestARM64(t *testing.T) {
	t.Parallel()
	s := serveWith(t, need(t, arm64Fixture), func(l *fixture, c *config) { c.Initramfs = l.loopback })
	if got := run(t, s.conn, "uname -m"); got != "aarch64\n" {
		t.Fatalf("the machine is an %q", got)
	}
	tests := []servedTest{
		{"figures", testFigures},
		{"requests", testRequests},
		{"frames", testFrames},
		{"both ways at once", testBothWays},
		{"mounts", testMounts},
		{"confined", testConfined},
		{"signals", testSignals},
		{"peer", testPeer},
	}
	if *allOfARM64 {
		tests = append(tests, []servedTest{
			{"large", testLarge},
			{"orphans", testOrphans},
			{"resets", testResets},
			{"out of memory", testOutOfMemory},
			{"fork bomb", testForkBomb},
		}...)
	}
	s.all(t, append(tests, servedTest{"shutdown", testShutdown}))
}
