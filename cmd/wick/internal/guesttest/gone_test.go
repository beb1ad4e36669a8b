package guesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wick/framing/client"
	"wick/framing/wiretest"
)

// testGone has hosts leave while their commands run, whose results are due later. The guest must
// close both a connection that a host made and its own, which it would otherwise not make again.
func testGone(t *testing.T, s *served) {
	const command = "echo >>/run/left; while [ -e /run/left ]; do sleep 0.1; done"
	before := s.connections(t)
	r := dialRaw(t, s.UDS(), "1000")
	r.want(wiretest.Ready, 0, "")
	r.write(commandFrame(command))
	r.ask(wiretest.Ping, 2, "")
	r.want(wiretest.Pong, 2, "")
	r.conn.Close()
	s.awaitConnections(t, before)

	var asked sync.WaitGroup
	asked.Go(func() { s.conn.Exec(deadline(t, stepLimit), client.Exec{Command: command}) })
	until(t, s.dial(t), `[ "$(wc -l </run/left)" = 2 ]`)
	s.conn.Close()
	asked.Wait()
	s.accept(t)
	run(t, s.conn, "rm /run/left")
}

// connections returns the number of connections that the guest has, including the one that asks.
func (s *served) connections(t *testing.T) uint64 {
	t.Helper()
	r := s.extended(t)
	defer r.conn.Close()
	r.ask(wiretest.Stats, 1, "")
	return r.figures(1)["agent.connections"]
}

// awaitConnections waits until there are at most that many.
func (s *served) awaitConnections(t *testing.T, most uint64) {
	t.Helper()
	for limit := time.Now().Add(stepLimit); s.connections(t) > most; {
		if time.Now().After(limit) {
			t.Fatalf("%d connections, %d at first", s.connections(t), most)
		}
	}
}

// testLoopback runs package reactor's tests of vsock, because few hosts have a loopback. It also
// ends connections in ways that Firecracker's vsock lacks, such as half-close.
func testLoopback(t *testing.T, s *served) {
	s.needLoopback(t)
	program := filepath.Join(t.TempDir(), "reactor.test")
	build := exec.CommandContext(deadline(t, stepLimit), "go", "test", "-c", "-o", program, "-ldflags=-s -w", "wick/reactor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+runtime.GOARCH)
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, said)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.conn, "/root/reactor.test", content)
	said := run(t, s.conn, "chmod +x /root/reactor.test; /root/reactor.test -test.v -test.run '^TestVsock' 2>&1; echo status $?; rm /root/reactor.test")
	if !strings.HasSuffix(said, "PASS\nstatus 0\n") || strings.Contains(said, "--- SKIP") || !strings.Contains(said, "--- PASS: TestVsockHalfClosedThenGone") {
		t.Errorf("in the guest:\n%s", said)
	}
}
