package torment

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// here is what this machine can bear in a test that is to be short.
var here = scale{hosts: 5, batch: 12, output: 300 << 10, file: 600 << 10, timeout: 400, holds: 40, huge: true, rareSync: 20}

// round lets the hosts play, some of it under resets of all connections, and brings the world to rest.
func (w *world) round(sessions, resets int) (figures, error) {
	var hosts, others sync.WaitGroup
	done := make(chan struct{})
	for _, h := range w.hosts {
		hosts.Go(func() { h.play(sessions) })
	}
	others.Go(func() { w.probe(done) })
	others.Go(func() {
		r := newRand(w.seed, 1<<32)
		for range resets {
			select {
			case <-time.After(time.Duration(r.IntN(1000)) * time.Millisecond):
				w.resetAll(func() end { return someReset(r) })
			case <-done:
				return
			case <-w.failed:
				return
			}
		}
	})
	hosts.Wait()
	close(done)
	others.Wait()
	if w.hasFailed() {
		return figures{}, w.err
	}
	f, err := w.rest()
	if w.hasFailed() {
		err = w.err
	}
	return f, err
}

func someReset(r *rand.Rand) end { return []end{endDrain, endReset}[r.IntN(2)] }

// probe pings all the while: the agent is to answer whatever else goes on.
func (w *world) probe(done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-w.failed:
			return
		case <-time.After(5 * time.Millisecond):
		}
		err := w.barrier()
		if w.control.ending() { // a reset took it
			err = w.connect()
			if w.control.ending() {
				continue
			}
		}
		if err != nil {
			w.fail("ping: %v", err)
			return
		}
	}
}

// TestModel plays random sessions with an agent.
func TestModel(t *testing.T) {
	for i, seed := range seeds(*rounds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			a := startAgent(t, false)
			w := newWorld(t, a, a.dir+"/files", here, seed)
			f, err := w.round(*sessions, i*5)
			w.must(err)
			t.Logf("%+v; %v; worst ping %v", w.counts(), f, w.worst())
		})
	}
}

// TestModelListening is the same where the host listens: there is one connection at a time, and the agent makes it.
func TestModelListening(t *testing.T) {
	s := here
	s.hosts = 1
	for _, seed := range seeds(1) {
		a := startAgent(t, true)
		w := newWorld(t, a, a.dir+"/files", s, seed)
		w.control.finish(endHalf)
		<-w.control.done
		w.hosts[0].play(*sessions)
		if w.hasFailed() {
			w.must(w.err)
		}
		f, err := w.rest()
		w.must(err)
		t.Logf("%+v; %v", w.counts(), f)
	}
}

// worst is how long the slowest ping took.
func (w *world) worst() (d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pings {
		d = max(d, p)
	}
	return d
}
