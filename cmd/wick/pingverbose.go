package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"wick/framing/client"
)

// stillLeast is the shortest time for which a guest stood still that is reported.
const stillLeast = 100 * time.Millisecond

// A look is the answer to a request for figures.
type look struct {
	sent, received time.Duration // by this machine's clock
	uptime         time.Duration // by the guest's clock, at some time between these
	wait           time.Duration // for which the agent had no processor, since the boot
}

// looks is what is known of the looks so far.
type looks struct {
	epoch time.Time // of this machine's clock
	any   bool      // there was a look
	wait  time.Duration
	// behind is how far the guest's clock is behind this machine's at most. It grows if the guest
	// stands still.
	behind time.Duration
}

// ask pings by a request for figures. It returns how long the answer took, and what it says.
func (p *pinger) ask(ctx context.Context, c *client.Client) (rtt time.Duration, says string, err error) {
	if p.looks.epoch.IsZero() {
		p.looks.epoch = time.Now()
	}
	l := look{sent: time.Since(p.looks.epoch)}
	s, err := c.Stats(ctx)
	if err != nil {
		return 0, "", err
	}
	l.received, l.uptime, l.wait = time.Since(p.looks.epoch), s.Uptime(), microseconds(s.Get("loop.wait"))
	return l.received - l.sent, p.looks.describe(s.Lookup, &l), nil
}

// describe says what delays an answer: the agent's loop, its want of a processor since the look
// before, and stalls of the guest's tasks. It says for how long the guest's clock stood still at
// least.
func (all *looks) describe(lookup func(string) (uint64, bool), l *look) string {
	var b strings.Builder
	if delay, ok := lookup("loop.delay"); ok {
		fmt.Fprintf(&b, " loop=%s", milliseconds(microseconds(delay)))
	}
	if _, ok := lookup("loop.wait"); ok && all.any {
		fmt.Fprintf(&b, " wait=%s", milliseconds(max(l.wait-all.wait, 0)))
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		if n, ok := lookup("psi." + resource + ".some"); ok {
			fmt.Fprintf(&b, " %s=%d.%02d%%", resource, n/100, n%100)
		}
	}
	least, most := l.sent-l.uptime, l.received-l.uptime
	if still := least - all.behind; all.any && still >= stillLeast {
		fmt.Fprintf(&b, " stood-still=%s", milliseconds(still))
		all.behind = most
	}
	if !all.any || most < all.behind {
		all.behind = most
	}
	all.any, all.wait = true, l.wait
	return b.String()
}

func microseconds(n uint64) time.Duration { return time.Duration(min(n, 1<<53)) * time.Microsecond }
