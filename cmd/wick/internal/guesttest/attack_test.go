package guesttest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"wick/framing/client"
)

// TestAttack has unprivileged processes attack the agent, on one processor and on two, while a host
// pings.
func TestAttack(t *testing.T) {
	t.Parallel()
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprintf("cpus %d", cpus), func(t *testing.T) {
			s := serveWith(t, needFixture(t), func(l *fixture, c *config) { c.Initramfs, c.CPUs = l.loopback, cpus })
			put(t, s.conn, "/root/attack", s.fixture.attack)
			run(t, s.conn, "chmod +x /root/attack; chmod 755 /root")
			s.all(t, []servedTest{
				{"busy", testBusy},
				{"connections", testConnections},
				{"files", testHeldFiles},
				{"names", testNames},
				{"faults", testFaults},
				{"linked", testLinked},
			})
		})
	}
}

// attacks runs unprivileged processes that attack, and beside while they do. It returns when they
// have ended.
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

// measure pings, and connects and pings, repeatedly for some time. It logs and returns the slowest
// of both.
func (s *served) measure(t *testing.T, what string) (ping, dial time.Duration) {
	t.Helper()
	n := 0
	for began := time.Now(); time.Since(began) < 4*time.Second; n++ {
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

// attackers is the number of processes that attack at a time.
const attackers = 4

// within fails a test if a ping takes 200 ms, or a new connection 500 ms, longer than beside
// processes that only use the processor. The comparison excludes the pace of an emulator.
func (s *served) within(t *testing.T, what string) {
	t.Helper()
	var ping, dial time.Duration
	for range 3 { // a fault of the agent's own occurs every time
		if ping, dial = s.measure(t, what); ping <= s.busyPing+200*time.Millisecond && dial <= s.busyDial+500*time.Millisecond {
			return
		}
	}
	t.Errorf("%s: ping %v, new connection %v; beside busy processes %v and %v", what, ping, dial, s.busyPing, s.busyDial)
}

// testBusy measures beside processes that only use the processor.
func testBusy(t *testing.T, s *served) {
	busy := spawn(t, s.conn, fmt.Sprintf("for i in $(seq %d); do while :; do :; done & done; wait", attackers))
	s.busyPing, s.busyDial = s.measure(t, "busy")
	run(t, s.conn, fmt.Sprintf("kill -9 -%d", busy))
	exit(t, s.conn, busy)
}

// testConnections has processes connect to the agent's port through the loopback as fast as they
// can, while a host connects and pings.
func testConnections(t *testing.T, s *served) {
	s.needLoopback(t)
	for _, at := range []string{"1:1000", "3:1000"} {
		before := s.console.count("connections rejected")
		s.attacks(t, attackers, "connect "+at, func() {
			s.console.await(t, "connections rejected", before+1)
			s.within(t, "connections to "+at)
		})
	}
	// The host does not listen on this port.
	s.attacks(t, attackers, "connect 2:4000", func() { s.within(t, "connections to the host") })
}

// attack starts one unprivileged process, and returns when its attack has begun.
func (s *served) attack(t *testing.T, what string) (end func()) {
	t.Helper()
	run(t, s.conn, "rm -f /run/on; mkfifo /run/on")
	pid := spawn(t, s.conn, "exec /root/attack "+what+" >/run/on")
	if got := run(t, s.conn, "head -n 1 /run/on; rm /run/on"); got != "on\n" {
		t.Fatalf("attack %s: %q", what, got)
	}
	return func() {
		t.Helper()
		run(t, s.conn, fmt.Sprintf("kill -9 %d", pid))
		exit(t, s.conn, pid)
	}
}

// testHeldFiles has the host use files that an unprivileged process holds in every possible way.
// Each request and a ping are answered at once, with success or failure.
func testHeldFiles(t *testing.T, s *served) {
	run(t, s.conn, "echo 1 >/proc/sys/fs/leases-enable; mkdir -m 1777 /open")
	for _, what := range []string{"lease", "lock", "fifo", "watch"} {
		path := "/open/" + what
		if what == "watch" {
			path = "/open"
		}
		end := s.attack(t, what+" "+path)
		slowest := time.Duration(0)
		for name, do := range map[string]func(context.Context) error{
			"write_file": func(ctx context.Context) error {
				return s.conn.WriteFile(ctx, path, strings.NewReader("x"), 1, client.WriteFileOptions{})
			},
			"write": func(ctx context.Context) error {
				_, err := s.conn.WriteStream(ctx, path, strings.NewReader("x"), client.WriteOptions{})
				return err
			},
			"write in place": func(ctx context.Context) error {
				_, err := s.conn.WriteStream(ctx, path, strings.NewReader("x"), client.WriteOptions{InPlace: true})
				return err
			},
			"read":    func(ctx context.Context) error { _, err := s.conn.ReadFile(ctx, path); return err },
			"stat":    func(ctx context.Context) error { _, err := s.conn.Stat(ctx, path); return err },
			"readdir": func(ctx context.Context) error { _, err := s.conn.ReadDir(ctx, path); return err },
		} {
			for _, as := range []string{"held", "replaced"} {
				began := time.Now()
				done := make(chan error, 1)
				go func() { done <- do(deadline(t, stepLimit)) }()
				ping := howLong(t, func(ctx context.Context) error { _, err := s.conn.Ping(ctx); return err })
				err := <-done
				took := time.Since(began)
				if slowest = max(slowest, ping, took); took > s.busyPing+time.Second || ping > s.busyPing+500*time.Millisecond {
					t.Errorf("%s of a file with a %s, %s: %v after %v, and a ping took %v", name, what, as, err, took, ping)
				}
			}
		}
		end()
		t.Logf("%s: the slowest took %v", what, slowest)
		run(t, s.conn, "rm -rf /open/*")
	}
}

// testNames occupies names that the agent once used for a moment.
func testNames(t *testing.T, s *served) {
	end := s.attack(t, "names /tmp")
	put(t, s.conn, "/tmp/written", []byte("content"))
	if got := run(t, s.conn, "cat /tmp/written; rm /tmp/written"); got != "content" {
		t.Errorf("the file holds %q", got)
	}
	if r := result(t, s.conn, client.Exec{Command: "head -c 3000000 /dev/zero"}); len(r.Stdout) != 3000000 {
		t.Errorf("%d bytes of output, stderr %q", len(r.Stdout), clip(r.Stderr))
	}
	end()
	run(t, s.conn, "rm -f /tmp/.wick-1-*")
}

// testFaults has a process write to its stdout from memory that never arrives. The kernel refuses
// that to an unprivileged process (EFAULT).
func testFaults(t *testing.T, s *served) {
	pid := spawn(t, s.conn, "exec /root/attack fault 65536")
	s.within(t, "writes of memory that is not there")
	run(t, s.conn, fmt.Sprintf("kill -9 -%d", pid))
	if e := exit(t, s.conn, pid); e.ExitCode != 128+9 {
		t.Errorf("exit code %d, stdout %q, stderr %q", e.ExitCode, clip(e.Stdout), clip(e.Stderr))
	}
}

// testLinked has an unprivileged process link a set-user-ID program to a name of its own. A host
// writes to a name that the process has linked.
func testLinked(t *testing.T, s *served) {
	run(t, s.conn, "mkdir -m 1777 /links; cp /bin/busybox /tool; chmod 4755 /tool")
	if r := result(t, s.conn, client.Exec{Command: "start-stop-daemon -S -c 65534:65534 -x /bin/ln -- /tool /links/f"}); r.ExitCode == 0 {
		t.Errorf("another's set-user-ID program can be linked, stderr %q", clip(r.Stderr))
	}
	run(t, s.conn, "ln /tool /links/f")
	put(t, s.conn, "/links/f", []byte("content"))
	if got := run(t, s.conn, "stat -c %a /links/f /tool; rm -rf /links /tool"); got != "755\n4755\n" {
		t.Errorf("modes of what was written and of the program: %q", got)
	}
}

// howLong returns how long f took. f must succeed.
func howLong(t *testing.T, f func(context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	if err := f(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
