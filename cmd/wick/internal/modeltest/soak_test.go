package modeltest

import (
	"slices"
	"testing"
	"time"
)

const (
	// soakWarm is the number of connections after which the agent must have its final size.
	// soakMargin limits its later growth in kB, both at rest and at the peak. Code that runs for
	// the first time does not count. Each additional buffer may add soakBufferkB to the peak.
	soakWarm     = 500
	soakMargin   = 1024
	soakBufferkB = 64
	// soakLine is the interval between printed figures.
	soakLine = 15 * time.Second
)

// crashLoop has the options of a workload that fails each time, with more output than is held.
var crashLoop = []string{`--workload="sh:head -c 100000 /dev/zero; exit 3"`, "--workload-restart=always"}

// TestSoak plays random sessions under resets for a long time, with an agent at a Unix socket and
// one in a booted machine. There it runs beside a workload that fails again and again.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("runs only for a given time: run scripts/soak MINUTES")
	}
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		a := startAgent(t, false)
		soak(t, newModel(t, a, a.dir+"/files", here, seeds(1)[0]), 6)
	})
	t.Run("guest", func(t *testing.T) {
		t.Parallel()
		soak(t, newModel(t, startGuest(t, crashLoop...), "/root/model", there, seeds(1)[0]), 2)
	})
}

// soak plays rounds until -modeltest.soak has passed, with that many sessions of each host in a
// round.
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

// pace describes the durations of the pings since its last call.
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
