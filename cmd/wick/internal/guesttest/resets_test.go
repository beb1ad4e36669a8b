package guesttest

import (
	"sync"
	"testing"
	"time"

	"wick/framing/client"
)

// exitLog counts the exits that came, on whatever connection.
type exitLog struct {
	mu   sync.Mutex
	seen map[uint32]int
}

// note is for client.WithOnExit.
func (l *exitLog) note(e *client.Exit) (taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[uint32]int{}
	}
	l.seen[e.PID]++
	return false
}

func (l *exitLog) count(pid uint32) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[pid]
}

// backLimit is how long a guest may take to be reachable after a reset: a second is what is promised, and five times as much is
// what a busy host may make of it.
const backLimit = 5 * time.Second

// witnessPort is where a process of the guest connects to the host, to end with its connection.
const witnessPort = "1001"

// testResets resets all connections over and over while they are in use. What was spawned reports its exit once: be it that it
// ended while there was no connection, for the reset was what ended it, or after there was one again.
func testResets(t *testing.T, s *served) {
	ctx := deadline(t, 3*stepLimit)
	worst := time.Duration(0)
	put(t, s.conn, "/root/peer", s.fixture.peer)
	run(t, s.conn, "chmod +x /root/peer; mkfifo /run/gate")
	witnesses := listenAt(t, s.UDS(), witnessPort)
	for round := range 20 {
		early := spawn(t, s.conn, "exec /root/peer 2 "+witnessPort)
		witness, err := witnesses.Accept()
		if err != nil {
			t.Fatal(err)
		}
		late := spawn(t, s.conn, "read x </run/gate; exit 5")
		load := s.load(t)
		began := time.Now()
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
		load()
		<-s.conn.Done()
		witness.Close()
		if s.conn, err = s.listen.Accept(ctx); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		worst = max(worst, took)
		if took > backLimit {
			t.Errorf("round %d: back after %v, want %v", round, took, backLimit)
		}
		run(t, s.conn, "echo >/run/gate")
		for pid, code := range map[uint32]int{late: 5, early: 0} {
			if e := exit(t, s.conn, pid); e.ExitCode != code {
				t.Errorf("round %d: exit code %d, want %d", round, e.ExitCode, code)
			}
		}
		// Whatever would come twice has come before the answer to a ping.
		if _, err := s.conn.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		for _, pid := range []uint32{early, late} {
			if n := s.exits.count(pid); n != 1 {
				t.Errorf("round %d: the exit of %d came %d times", round, pid, n)
			}
		}
	}
	t.Logf("back after %v at worst", worst)
	until(t, s.conn, `[ "$(ps -o args | grep -c '^head -c 2000000')" = 0 ]`)
	run(t, s.conn, "rm /run/gate /root/peer")
}

// load has requests of all sizes under way on connections of both kinds, and returns once they are; what it returns waits for their
// ends, which the reset is.
func (s *served) load(t *testing.T) (wait func()) {
	var work sync.WaitGroup
	ctx := deadline(t, stepLimit)
	for _, c := range []*client.Client{s.conn, s.dial(t)} {
		started := make(chan struct{})
		work.Go(func() {
			for first := true; ; first = false {
				if _, err := c.Ping(ctx); err != nil {
					return
				}
				if first {
					close(started)
				}
			}
		})
		work.Go(func() {
			for {
				if _, err := c.Exec(ctx, client.Exec{Command: "head -c 100000 /dev/zero"}); err != nil {
					return
				}
			}
		})
		work.Go(func() { c.Exec(ctx, client.Exec{Command: "head -c 2000000 /dev/zero"}) })
		<-started
	}
	return work.Wait
}
