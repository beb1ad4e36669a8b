package guesttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"wick/framing/client"
)

// pressedEnv selects the long form of TestPressed: sizes in MiB, rounds, and attacks (default all):
//
//	WICK_PRESSED=96,128,256:10:bomb go test -v -timeout 1h -run TestPressed \
//		./cmd/wick/internal/guesttest
//
// Each attack then has a machine of its own, and each round a line. WICK_PRESSED_KERNEL names a
// kernel that needs no initramfs, such as one with Firecracker's configuration.
const pressedEnv = "WICK_PRESSED"

// attack is a command that uses memory until its timeout. The commands before and after it prepare
// it and clean up.
type attack struct {
	name, before, command, after string
}

var attacks = []attack{
	{"bomb", "",
		"sleep 6543 & bomb() { bomb | bomb & while :; do bomb & done; }; bomb & exec sleep 60", ""},
	{"tail", "", "tail /dev/zero & tail /dev/zero & tail /dev/zero & exec sleep 60", ""},
	{"creep", "",
		"a=$(head -c 100000 /dev/zero | tr '\\0' a); while :; do b=$b$a; done & exec sleep 60", ""},
	{"small", "",
		"(i=0; while [ $i -lt 1000 ]; do sleep 60 & i=$((i+1)); done) & exec sleep 60", ""},
	{"cat", "truncate -s 1G /root/sparse",
		"for i in 1 2 3 4; do while :; do cat /root/sparse; done >/dev/null & done; exec sleep 60",
		"rm /root/sparse"},
	// The third file system ends with the command.
	{"tmpfs", "mkdir -p /mnt",
		"for d in /dev/shm /run; do dd if=/dev/zero of=$d/full; done; unshare -m sh -c " +
			"'mount -t tmpfs -o size=100% none /mnt; dd if=/dev/zero of=/mnt/full' & exec sleep 60", ""},
}

const (
	// attackTime is the duration of an attack.
	attackTime = 3 * time.Second
	// mayStall limits how often the machine may lack a free page in an attack. Without a reserve
	// this happens thousands of times.
	mayStall = 100
)

// TestPressed has commands use memory in every way they can. The agent must answer meanwhile, and
// the result must come at the timeout. The machine itself must never lack memory, because a ping
// would wait for it.
func TestPressed(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	long := os.Getenv(pressedEnv)
	if long == "" {
		c := usual(t, l)
		c.MemoryMiB = 96
		v, conn := boot(t, l, c)
		s := &served{vm: v, conn: conn}
		for _, a := range attacks {
			t.Run(a.name, func(t *testing.T) { s.press(t, &a, 0) })
		}
		t.Run("full", s.full)
		return
	}
	sizes, rest, _ := strings.Cut(long, ":")
	rounds, only, _ := strings.Cut(rest, ":")
	for size := range strings.SplitSeq(sizes, ",") {
		for _, a := range attacks {
			if only != "" && !strings.Contains(","+only+",", ","+a.name+",") {
				continue
			}
			t.Run(size+"/"+a.name, func(t *testing.T) {
				c := usual(t, l)
				c.MemoryMiB = atoi(t, size)
				if image := os.Getenv(pressedEnv + "_KERNEL"); image != "" {
					c.Kernel, c.Initramfs, c.Init = image, "", initPath
				}
				v, conn := boot(t, l, c)
				s := &served{vm: v, conn: conn}
				for round := range atoi(t, rounds) {
					s.press(t, &a, round)
				}
			})
		}
	}
}

// press runs one attack, and pings on a connection meanwhile.
func (s *served) press(t *testing.T, a *attack, round int) {
	t.Helper()
	if a.before != "" {
		run(t, s.conn, a.before)
	}
	beside := s.dial(t)
	defer beside.Close()
	idle := pings(t, beside, func() { run(t, s.conn, "sleep 0.5") })
	stalls := stallCount(t, s.conn)
	var r *client.Result
	began := guestTime(t, s.conn)
	worst := pings(t, beside, func() {
		r = result(t, s.conn, client.Exec{Command: a.command, Timeout: attackTime})
	})
	late := guestTime(t, s.conn) - began - attackTime
	stalls = stallCount(t, s.conn) - stalls
	t.Logf("%s, round %d: pings up to %v (%v before), result %v late, %d stalls", a.name, round,
		worst.Round(time.Millisecond), idle.Round(time.Millisecond), late.Round(time.Millisecond), stalls)
	if r.ExitCode != 124 && r.ExitCode != 137 {
		t.Errorf("%s: exit code %d, stderr %q, want a timeout", a.name, r.ExitCode, clip(r.Stderr))
	}
	// Both are much shorter in a machine that gets a processor. Without a reserve they are half a
	// minute.
	if worst > 2*time.Second || late > 10*time.Second {
		t.Errorf("%s: a ping took %v, the result was %v late", a.name, worst, late)
	}
	if stalls > mayStall {
		t.Errorf("%s: the machine had no memory to give %d times", a.name, stalls)
	}
	s.empty(t)
	if a.after != "" {
		run(t, s.conn, a.after)
	}
}

// full starts commands when files in a tmpfs have used all their memory. They must end and report
// the reason.
func (s *served) full(t *testing.T) {
	result(t, s.conn, client.Exec{Command: attackNamed("tmpfs").command, Timeout: attackTime})
	r := result(t, s.conn, client.Exec{Command: "awk 'BEGIN { while (n < 1000000) n++ }'; find /proc >/dev/null; exit 3"})
	if r.ExitCode != 3 && (r.ExitCode != 137 || !bytes.Contains(r.Stderr, []byte("[out of memory: "))) {
		t.Errorf("exit code %d, stderr %q", r.ExitCode, clip(r.Stderr))
	}
	s.empty(t)
	run(t, s.conn, "true")
}

// empty removes the files that fill a tmpfs. A command could not, because the files hold the memory
// that it needs.
func (s *served) empty(t *testing.T) {
	t.Helper()
	for _, name := range []string{"/dev/shm/full", "/run/full"} {
		err := s.conn.Remove(deadline(t, stepLimit), name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// pings pings while f runs, and returns the slowest ping.
func pings(t *testing.T, c *client.Client, f func()) (worst time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		took, err := c.Ping(deadline(t, 2*stepLimit))
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, took)
		select {
		case <-done:
			return worst
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// guestTime returns the guest's own time. It stops while an emulated machine gets no processor, for
// up to ten seconds in three.
func guestTime(t *testing.T, c *client.Client) time.Duration {
	t.Helper()
	text, err := c.ReadFile(deadline(t, stepLimit), "/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	up, err := time.ParseDuration(seconds + "s")
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// stallCount returns how often a task had to reclaim memory because the machine, rather than its
// cgroup, was short of it.
func stallCount(t *testing.T, c *client.Client) int {
	t.Helper()
	all, err := c.ReadFile(deadline(t, stepLimit), "/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(all)) {
		if name, count, _ := strings.Cut(line, " "); strings.HasPrefix(name, "allocstall") {
			n += atoi(t, count)
		}
	}
	return n
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w", s, err))
	}
	return n
}
