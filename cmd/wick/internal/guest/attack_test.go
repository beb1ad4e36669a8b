package guest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"wick/framing/client"
)

// TestAttack has processes without rights attack the agent, on one processor and on two, and pings beside them.
func TestAttack(t *testing.T) {
	t.Parallel()
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprintf("cpus %d", cpus), func(t *testing.T) {
			s := serveWith(t, needLab(t), func(l *lab, c *config) { c.Initramfs, c.CPUs = l.loopback, cpus })
			put(t, s.conn, "/root/attack", s.lab.attack)
			run(t, s.conn, "chmod +x /root/attack; chmod 755 /root")
			s.all(t, []servedTest{
				{"busy", testBusy},
				{"connections", testConnections},
			})
		})
	}
}

// attacks runs so many processes without rights that do something, and what is given beside them. It returns when they are gone.
func (s *served) attacks(t *testing.T, processes int, what string, beside func()) {
	t.Helper()
	command := fmt.Sprintf("for i in $(seq %d); do /root/attack %s & done; wait", processes, what)
	pid := spawn(t, s.conn, command)
	beside()
	run(t, s.conn, fmt.Sprintf("kill -9 -%d", pid))
	if e := exit(t, s.conn, pid); e.ExitCode != 128+9 || len(e.Stdout)+len(e.Stderr) > 0 {
		t.Errorf("%s: exit code %d, stdout %q, stderr %q", what, e.ExitCode, clip(e.Stdout), clip(e.Stderr))
	}
}

// measure has a host ping, and connect and ping, again and again for some time, and logs the slowest of both.
func (s *served) measure(t *testing.T, what string) (ping, dial time.Duration) {
	t.Helper()
	n := 0
	for began := time.Now(); time.Since(began) < 8*time.Second; n++ {
		ping = max(ping, howLong(t, func(ctx context.Context) error { _, err := s.conn.Ping(ctx); return err }))
		dial = max(dial, howLong(t, func(ctx context.Context) error {
			c, err := client.Dial(ctx, "firecracker:"+s.UDS())
			if err == nil {
				_, err = c.Ping(ctx)
				c.Close()
			}
			return err
		}))
	}
	t.Logf("%s: of %d each, the slowest ping took %v, the slowest new connection %v", what, n, ping, dial)
	return ping, dial
}

// attackers is how many processes attack at a time.
const attackers = 4

// within fails a test in which a ping took more than 200 ms, or a new connection more than 500, longer than beside processes that only want
// the processor: an emulator's pace is no fault of the agent's.
func (s *served) within(t *testing.T, what string) {
	t.Helper()
	ping, dial := s.measure(t, what)
	if ping > s.busyPing+200*time.Millisecond || dial > s.busyDial+500*time.Millisecond {
		t.Errorf("%s: ping %v, new connection %v; beside busy processes %v and %v", what, ping, dial, s.busyPing, s.busyDial)
	}
}

// testBusy measures beside processes that only want the processor.
func testBusy(t *testing.T, s *served) {
	busy := spawn(t, s.conn, fmt.Sprintf("for i in $(seq %d); do while :; do :; done & done; wait", attackers))
	s.busyPing, s.busyDial = s.measure(t, "busy")
	run(t, s.conn, fmt.Sprintf("kill -9 -%d", busy))
	exit(t, s.conn, busy)
}

// testConnections has processes connect to the agent's port by the loopback as fast as they can, and a host connect and ping beside them.
func testConnections(t *testing.T, s *served) {
	for _, at := range []string{"1:1000", "3:1000"} {
		before := s.console.count("connections rejected")
		s.attacks(t, attackers, "connect "+at, func() {
			s.console.await(t, "connections rejected", before+1)
			s.within(t, "connections to "+at)
		})
	}
	// The same to a port of the host's where nothing listens.
	s.attacks(t, attackers, "connect 2:4000", func() { s.within(t, "connections to the host") })
}

// howLong returns how long something took, which must succeed.
func howLong(t *testing.T, f func(context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	if err := f(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
