package modeltest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// here is the load for an agent on this machine, in a short test.
var here = scale{hosts: 5, batch: 12, output: 300 << 10, file: 600 << 10, timeout: 400, holds: 40, huge: true, rareSync: 20}

// round plays that many sessions with each host, and resets all connections at random moments
// meanwhile. It brings the model to rest.
func (m *model) round(sessions, resets int) (figures, error) {
	var hosts, others sync.WaitGroup
	done := make(chan struct{})
	for _, h := range m.hosts {
		hosts.Go(func() { h.play(sessions) })
	}
	others.Go(func() { m.probe(done) })
	others.Go(func() {
		r := newRand(m.seed, 1<<32)
		for range resets {
			select {
			case <-time.After(time.Duration(r.IntN(1000)) * time.Millisecond):
				m.resetAll(func() end { return someReset(r) })
			case <-done:
				return
			case <-m.failed:
				return
			}
		}
	})
	hosts.Wait()
	close(done)
	others.Wait()
	if m.hasFailed() {
		return figures{}, m.err
	}
	f, err := m.rest()
	if m.hasFailed() {
		err = m.err
	}
	return f, err
}

func someReset(r *rand.Rand) end { return []end{endDrain, endReset}[r.IntN(2)] }

// probe pings until done is closed. The agent must answer under any load.
func (m *model) probe(done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-m.failed:
			return
		case <-time.After(5 * time.Millisecond):
		}
		err := m.barrier()
		if m.control.ending() { // a reset ended it
			err = m.connect()
			if m.control.ending() {
				continue
			}
		}
		if err != nil {
			m.fail("ping: %v", err)
			return
		}
	}
}

// TestModel plays random sessions with an agent.
func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("plays random sessions for a minute: run without -short")
	}
	for i, seed := range seeds(*rounds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			a := startAgent(t, false)
			m := newModel(t, a, a.dir+"/files", here, seed)
			f, err := m.round(*sessions, i*5)
			m.must(err)
			t.Logf("%+v; %v; worst ping %v", m.counts(), f, m.worst())
		})
	}
}

// TestModelListening plays random sessions where the host listens. There is one connection at a
// time, which the agent opens.
func TestModelListening(t *testing.T) {
	if testing.Short() {
		t.Skip("plays random sessions for a minute: run without -short")
	}
	s := here
	s.hosts = 1
	for _, seed := range seeds(1) {
		a := startAgent(t, true)
		m := newModel(t, a, a.dir+"/files", s, seed)
		m.control.finish(endHalf)
		<-m.control.done
		m.hosts[0].play(*sessions)
		if m.hasFailed() {
			m.must(m.err)
		}
		f, err := m.rest()
		m.must(err)
		t.Logf("%+v; %v", m.counts(), f)
	}
}

// worst returns the duration of the slowest ping.
func (m *model) worst() (d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pings {
		d = max(d, p)
	}
	return d
}
