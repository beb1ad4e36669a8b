package guesttest

import (
	"sync"
	"testing"
	"time"

	"wick/framing/client"
)

// exitLog counts the exits that arrive on any connection.
type exitLog struct {
	mu   sync.Mutex
	seen map[uint32]int
}

// note is a function for client.WithOnExit.
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

// backLimit limits the time in which a guest must be reachable after a reset. The promise is a
// second; a busy host may take five.
const backLimit = 5 * time.Second

// witnessPort is the host's port to which a process of the guest connects. It ends with its
// connection.
const witnessPort = "1001"

// testResets resets all connections repeatedly while they are in use. Each spawned command must
// report its exit once. It may have ended because of the reset, while there was no connection, or
// after it.
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
		// A second copy of an exit would come before the answer to a ping.
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

// load starts requests of all sizes on connections of both kinds, and returns when they run. The
// returned function waits for their end by the reset.
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
