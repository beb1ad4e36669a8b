package guesttest

import (
	"testing"
	"time"

	"wick/framing/client"
)

// served is a running machine, shared by tests that restore its state.
type served struct {
	*vm
	overlay string
	idleHWM int // VmHWM of process 1 when idle after boot, in kB
	// busyPing and busyDial are the slowest ping and new connection beside processes that only use
	// the processor.
	busyPing, busyDial time.Duration
	// exits counts the exits of all connections from listen.
	exits exitLog
	// listen accepts the guest's connections, and conn is the newest.
	listen *client.Listener
	conn   *client.Client
}

// TestServed has one machine do everything that a host can ask for. The order matters twice: the
// figures are those of an idle machine, and shutdown ends it.
func TestServed(t *testing.T) {
	t.Parallel()
	s := serve(t, needFixture(t))
	s.all(t, []servedTest{
		{"figures", testFigures},
		{"requests", testRequests},
		{"frames", testFrames},
		{"both ways at once", testBothWays},
		{"large", testLarge},
		{"mounts", testMounts},
		{"confined", testConfined},
		{"shutdown", testShutdown},
	})
}

// TestTrouble exposes another machine to trouble from processes and hosts.
func TestTrouble(t *testing.T) {
	t.Parallel()
	s := serveWith(t, needFixture(t), func(l *fixture, c *config) { c.Initramfs = l.loopback })
	s.all(t, []servedTest{
		{"orphans", testOrphans},
		{"signals", testSignals},
		{"peer", testPeer},
		{"abandoned", testAbandoned},
		{"gone", testGone},
		{"loopback", testLoopback},
		{"daemon", testDaemon},
		{"memory limit", testMemoryLimit},
		{"out of memory", testOutOfMemory},
		{"fork bomb", testForkBomb},
		{"resets", testResets},
		{"no shell", testNoShell},
		{"out of processes", testOutOfProcesses},
		{"out of files", testOutOfFiles},
		{"clock", testClock},
		{"pause", testPause},
		{"shutdown", testShutdown},
	})
}

// serve boots a machine with 128 MiB.
func serve(t *testing.T, l *fixture) *served {
	t.Helper()
	return serveWith(t, l, func(*fixture, *config) {})
}

// serveWith boots a machine that change has configured.
func serveWith(t *testing.T, l *fixture, change func(*fixture, *config)) *served {
	t.Helper()
	c := usual(t, l)
	c.MemoryMiB = 128
	change(l, c)
	s := &served{overlay: c.overlay}
	s.vm = start(t, l, c)
	var err error
	if s.listen, err = client.Listen("firecracker-listen:"+s.UDS(), client.WithOnExit(s.exits.note)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listen.Close() })
	s.accept(t)
	t.Cleanup(func() { s.conn.Close() })
	return s
}

type servedTest struct {
	name string
	run  func(*testing.T, *served)
}

// all runs tests in order, until the machine ends.
func (s *served) all(t *testing.T, tests []servedTest) {
	for _, test := range tests {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, s) }) && s.ended() {
			t.Fatalf("the machine has ended: %v", s.Exit())
		}
	}
}

// accept accepts the guest's next connection.
func (s *served) accept(t *testing.T) {
	t.Helper()
	c, err := s.listen.Accept(deadline(t, bootLimit))
	if err != nil {
		t.Fatal(err)
	}
	s.conn = c
}

// ended reports whether the machine has ended.
func (v *vm) ended() bool {
	select {
	case <-v.Done():
		return true
	default:
		return false
	}
}

// dial connects from the host's side.
func (v *vm) dial(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(deadline(t, stepLimit), "firecracker:"+v.UDS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
