package modeltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// restEvery is the number of resets after which the model is brought to rest. The rest keeps
// processes that wait, or run on for lost connections, below the agent's limits.
const restEvery = 50

// resetRound connects all hosts and has each send requests without waiting. It resets all
// connections when a random number of replies has come.
func (m *model) resetRound(r *rand.Rand) error {
	var conns []*conn
	for _, h := range m.hosts {
		c, err := m.dial(fmt.Sprintf("connection %d of host %d", m.connNumber.Add(1), h.n))
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	before := m.counts().replies
	var posting, tending sync.WaitGroup
	defer tending.Wait()
	for i, h := range m.hosts {
		plan := *h
		plan.r = newRand(h.r.Uint64(), h.r.Uint64())
		conns[i].greeting = h.r.IntN(3) > 0
		posting.Go(func() {
			c := conns[i]
			err := c.opened()
			if err == nil {
				err = plan.batch(c, 1+plan.r.IntN(m.scale.batch))
			}
			judge := func(err error) {
				if err = plan.orderly(c, err); err != nil && !errors.Is(err, errEnded) {
					m.fail("host %d: %v", plan.n, err)
				}
			}
			judge(err)
			if err == nil {
				tending.Go(func() { judge(plan.tend(c, -1)) })
			}
		})
	}
	// Fewer replies may be due. All requests are then posted and answered, and the hosts are idle.
	goal := before + r.IntN(2*len(conns))
	posted := make(chan struct{})
	go func() { posting.Wait(); close(posted) }()
	m.awaitReplies(goal, posted, conns)
	m.resetAll(func() end { return someReset(r) })
	<-posted
	for _, c := range conns {
		select {
		case <-c.done:
		case <-m.failed:
			return m.err
		}
	}
	return nil
}

// awaitReplies waits until that many replies have come in all, or until all requests are posted and
// answered.
func (m *model) awaitReplies(goal int, posted chan struct{}, conns []*conn) {
	all := false
	for {
		m.mu.Lock()
		n, changed := m.count.replies, m.changed
		m.mu.Unlock()
		if n >= goal || all && !slices.ContainsFunc(conns, (*conn).owing) {
			return
		}
		select {
		case <-changed:
		case <-posted:
			all, posted = true, nil
		case <-m.failed:
			return
		}
	}
}

func (c *conn) owing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) > 0
}

// resetTest resets all connections that many times.
func (m *model) resetTest(t *testing.T, n int) {
	r := newRand(m.seed, 1<<33)
	owed := 0
	for i := range n {
		m.must(m.resetRound(r))
		if i%restEvery == restEvery-1 || i == n-1 {
			k, _ := m.owed()
			owed += k
			f, err := m.rest()
			m.must(err)
			if i == n-1 {
				t.Logf("%+v, of which %d exits were due after the last of %d resets in a row; %v", m.counts(), owed, restEvery, f)
			}
		}
	}
}

// TestReset resets all connections at random moments, under load. The agent must keep nothing of
// them, and every process_exit must come once.
func TestReset(t *testing.T) {
	if testing.Short() {
		t.Skip("resets all connections for a minute: run without -short")
	}
	s := here
	s.hosts, s.batch, s.huge, s.timeout = 3, 5, false, 200
	seed := seeds(1)[0]
	a := startAgent(t, false)
	m := newModel(t, a, a.dir+"/files", s, seed)
	m.resetTest(t, *resetCount)
}

func (m *model) counts() counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.count
	n.starts, n.attaches, n.receipts = m.starts.Load(), m.attaches.Load(), m.receipts.Load()
	return n
}
