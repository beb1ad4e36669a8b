package modeltest

import (
	"slices"
	"testing"
	"time"
)

const (
	// soakWarm is how many connections an agent has to reach the size that it is to keep, and soakMargin what that may grow by, in kB: the
	// size at rest, and the greatest there was. Code that is run for the first time does not count, and that there may be more buffers at
	// a time than before adds to the latter.
	soakWarm     = 500
	soakMargin   = 1024
	soakBufferkB = 64
	// soakLine is how often the figures are printed.
	soakLine = 15 * time.Second
)

// TestSoak has random sessions under resets go on for long, with one agent at a Unix socket and one in a booted machine.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("goes on for as long as it is told to: run scripts/soak MINUTES")
	}
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		a := startAgent(t, false)
		soak(t, newModel(t, a, a.dir+"/files", here, seeds(1)[0]), 6)
	})
	t.Run("guest", func(t *testing.T) {
		t.Parallel()
		soak(t, newModel(t, startGuest(t), "/root/model", there, seeds(1)[0]), 2)
	})
}

// soak plays rounds with that many sessions of each host.
func soak(t *testing.T, m *model, sessions int) {
	began := time.Now()
	t.Logf("the seed is %d; at first %v", m.seed, m.first)
	var warm figures
	var buffers int64
	next := began.Add(soakLine)
	for n := 1; ; n++ {
		f, err := m.round(sessions, 2)
		m.must(err)
		c := m.counts()
		isWarm := c.conns > soakWarm
		if !isWarm {
			warm = figures{rss: max(warm.rss, f.rss), hwm: max(warm.hwm, f.hwm), file: max(warm.file, f.file)}
			buffers = m.buffersMost.Load()
		} else {
			code, more := max(0, f.file-warm.file), int(m.buffersMost.Load()-buffers)
			if f.rss > warm.rss+code+soakMargin || f.hwm > warm.hwm+code+soakMargin+more*soakBufferkB {
				t.Fatalf("round %d: %v, %d kB of them code; it was VmRSS %d kB, VmHWM %d kB, code %d kB after %d connections, and %d buffers fewer; the seed is %d",
					n, f, f.file, warm.rss, warm.hwm, warm.file, soakWarm, more, m.seed)
			}
		}
		over := time.Since(began) >= *soakFor && isWarm
		if now := time.Now(); now.After(next) || over {
			next = now.Add(soakLine)
			t.Logf("%4.0fs round %d: %d connections, %d replies, %d exits, %d starts, %d attaches, %d receipts, %d resets, 0 wrong; %v; ping %s",
				now.Sub(began).Seconds(), n, c.conns, c.replies, c.exits, c.starts, c.attaches, c.receipts, c.resets, f, m.pace())
		}
		if over {
			return
		}
	}
}

// pace says how quickly pings were answered since it was last called.
func (m *model) pace() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pings
	m.pings = nil
	if len(p) == 0 {
		return "none"
	}
	slices.Sort(p)
	round := func(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
	return round(p[len(p)/2]) + " p50, " + round(p[len(p)*99/100]) + " p99, " + round(p[len(p)-1]) + " max"
}
