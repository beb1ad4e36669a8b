package guesttest

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"wick/framing/client"
)

var pauseFor = flag.Duration("guesttest.pause", 3*time.Second, "how long the pause test stops its machine")

const (
	// commandTime is the timeout of the timed commands.
	commandTime = 3 * time.Second
	// timeSlack limits how late a timeout may be by the machine's own clock, on a busy host.
	timeSlack = 30 * time.Second
)

// uptime returns the machine's uptime by a clock that cannot be set.
func uptime(t *testing.T, c *client.Client) time.Duration {
	t.Helper()
	text, _, _ := strings.Cut(run(t, c, "cat /proc/uptime"), " ")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}

// timed runs what while two commands run: one with a short timeout, and one with a long one. The
// first must end by its timeout, neither early nor never, and the second by itself.
func timed(t *testing.T, s *served, what func()) {
	t.Helper()
	run(t, s.conn, "mkfifo /run/gate")
	before := uptime(t, s.conn)
	ctx := deadline(t, 2*stepLimit+*pauseFor)
	short, err := s.conn.Spawn(ctx, client.Exec{Command: "exec sleep 100000", Timeout: commandTime})
	if err != nil {
		t.Fatal(err)
	}
	long, err := s.conn.Spawn(ctx, client.Exec{Command: "read x </run/gate; exit 5", Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	what()
	e, err := s.conn.WaitExit(ctx, short)
	if err != nil {
		t.Fatal(err)
	}
	took := uptime(t, s.conn) - before
	if e.ExitCode != 124 || took < commandTime || took > commandTime+timeSlack {
		t.Errorf("exit code %d after %v, want a timeout after %v", e.ExitCode, took, commandTime)
	}
	run(t, s.conn, "echo >/run/gate; rm /run/gate")
	if e := exit(t, s.conn, long); e.ExitCode != 5 {
		t.Errorf("exit code %d, stderr %q, want that the command ended by itself", e.ExitCode, clip(e.Stderr))
	}
	t.Logf("timed out %v after the command before it, of %v", took, commandTime)
}

// testClock sets the machine's clock a year forward, two back and one forward. The date must show
// that.
func testClock(t *testing.T, s *served) {
	const year = 365 * 24 * 3600
	for _, step := range []int{year, -2 * year, year} {
		timed(t, s, func() {
			got := run(t, s.conn, fmt.Sprintf("now=$(date +%%s); date -s @$((now + %d)) >/dev/null; echo $(($(date +%%s) - now))", step))
			if n, err := strconv.Atoi(strings.TrimSpace(got)); err != nil || n < step || n > step+60 {
				t.Fatalf("the clock moved by %q s, want %d", got, step)
			}
		})
	}
}

// testPause stops the machine for a while, like a snapshot does. Requests from that time are served
// when it continues. Its own time has stopped, and its connections are intact.
func testPause(t *testing.T, s *served) {
	other := s.dial(t)
	timed(t, s, func() {
		ctx := deadline(t, 2*stepLimit+*pauseFor)
		if err := s.QMP().Do(ctx, "stop", nil, nil); err != nil {
			t.Fatal(err)
		}
		answers := make(chan error, 3)
		for _, ask := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := s.conn.Ping(ctx); return err },
			func(ctx context.Context) error { _, err := other.Exec(ctx, client.Exec{Command: "true"}); return err },
			func(ctx context.Context) error {
				return other.WriteFile(ctx, "/root/paused", strings.NewReader("x"), 1, client.WriteFileOptions{})
			},
		} {
			go func() { answers <- ask(ctx) }()
		}
		select {
		case err := <-answers:
			t.Fatalf("a machine that is stopped has answered: %v", err)
		case <-time.After(*pauseFor): // the pause itself, not a wait for an event
		}
		began := time.Now()
		if err := s.QMP().Do(ctx, "cont", nil, nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		t.Logf("stopped for %v, and %v later all was answered", *pauseFor, time.Since(began))
	})
	if _, err := s.dial(t).Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	run(t, s.conn, "rm /root/paused")
}
