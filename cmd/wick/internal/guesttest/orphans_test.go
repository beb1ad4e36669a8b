package guesttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"wick/framing/client"
)

// orphans makes 2000 orphans, in batches because a command may have 512 processes. All of a batch
// live when their parent ends, and end together: each reads a line from a pipe.
const orphans = `
mkfifo /run/hold
exec 9<>/run/hold
for batch in 0 1 2 3 4 5 6 7 8 9; do
	(n=0; while [ $n -lt 200 ]; do read x <&9 & n=$((n+1)); done)
	head -c 200 /dev/zero | tr '\0' '\n' >&9
done`

// testOrphans leaves 2000 orphans to process 1. Meanwhile commands must get their own exit codes,
// which a reaper of any child could steal.
func testOrphans(t *testing.T, s *served) {
	ctx := deadline(t, 2*stepLimit)
	during, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	ran := 0
	work.Go(func() {
		for ; during.Err() == nil; ran++ {
			code := ran % 100
			r, err := s.conn.Exec(ctx, client.Exec{Command: fmt.Sprintf("(exit 77) & exit %d", code)})
			if err != nil || r.ExitCode != code {
				t.Errorf("command %d: %+v, %v", ran, r, err)
				return
			}
		}
	})
	c := s.dial(t)
	began := time.Now()
	run(t, c, orphans)
	took := time.Since(began)
	stop()
	work.Wait()
	t.Logf("2000 orphans took %v; %d commands ran meanwhile", took, ran)
	// There is no event for the end of the last. Once all have ended, no zombie may stay.
	until(t, c, "! grep -l '[r]un/hold' /proc/[0-9]*/cmdline")
	if got := zombies(t, c); got != "" {
		t.Errorf("zombies are left:\n%s", got)
	}
	run(t, c, "rm /run/hold")
}

// zombies lists the processes that were not reaped.
func zombies(t *testing.T, c *client.Client) string {
	t.Helper()
	return strings.TrimSpace(run(t, c, "grep -l '^State:[[:space:]]*Z' /proc/[0-9]*/status 2>/dev/null; true"))
}
