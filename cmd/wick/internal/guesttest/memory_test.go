package guesttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wick/framing/client"
	"wick/framing/wiretest"
)

// memoryMax is the limit on all commands together.
const memoryMax = "/sys/fs/cgroup/wick-1/memory.max"

// testMemoryLimit lowers the limit on commands and makes the agent compute it again: by a uevent of
// a memory block, a restore, and commands that wait for memory.
func testMemoryLimit(t *testing.T, s *served) {
	limit := func() int {
		t.Helper()
		return atoi(t, run(t, s.conn, "cat "+memoryMax))
	}
	before := limit()
	for _, tt := range []struct {
		event string
		cause func()
	}{
		{"uevent", func() { run(t, s.conn, "echo change >/sys/devices/system/memory/memory0/uevent") }},
		{"restore", func() {
			r := s.extended(t)
			r.ask(wiretest.Restore, 1, uint64(0), "")
			r.wantDone(1, 0)
		}},
		{"stall", func() {
			run(t, s.conn, "truncate -s 1G /root/sparse")
			result(t, s.conn, client.Exec{Timeout: attackTime, Command: attackNamed("cat").command})
			run(t, s.conn, "rm /root/sparse")
		}},
	} {
		run(t, s.conn, fmt.Sprintf("echo %d >%s", before/4, memoryMax))
		tt.cause()
		until(t, s.conn, fmt.Sprintf("[ $(cat %s) -gt %d ]", memoryMax, before/2))
		t.Logf("%s: %d, was %d", tt.event, limit(), before)
	}
}

// TestBalloon has the host take memory from a machine and give it back. Commands may have the rest,
// and the agent answers.
func TestBalloon(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	const mib = 1 << 20
	c := usual(t, l)
	c.MemoryMiB, c.Balloon = 256, true
	var err error
	if c.Initramfs, err = l.InitramfsWith(deadline(t, bootLimit), "virtio_balloon"); err != nil {
		t.Fatal(err)
	}
	v, conn := boot(t, l, c)
	s := &served{vm: v, conn: conn}
	was := 256
	for _, size := range []int{112, 256} {
		target := map[string]any{"value": size * mib}
		if err := v.QMP().Do(deadline(t, stepLimit), "balloon", target, nil); err != nil {
			t.Fatal(err)
		}
		// The limit is computed again for the command that finds the balloon in this state.
		compare := map[bool]string{true: "lt", false: "gt"}[size < was]
		until(t, conn, fmt.Sprintf("[ $(awk '/MemTotal/ { print $2 }' /proc/meminfo) -%s %d ]", compare, 152<<10))
		was = size
		limit := atoi(t, run(t, conn, "cat "+memoryMax))
		if limit < size*mib/8 || limit > size*mib {
			t.Errorf("at %d MiB commands may have %d bytes", size, limit)
		}
		t.Logf("at %d MiB commands may have %d MiB", size, limit/mib)
		before := stallCount(t, conn)
		for _, name := range []string{"tail", "bomb"} {
			s.press(t, attackNamed(name), 0)
		}
		if n := stallCount(t, conn) - before; n > mayStall {
			t.Errorf("at %d MiB the machine had no memory to give %d times", size, n)
		}
	}
}

func attackNamed(name string) *attack {
	return &attacks[slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })]
}

// TestDegraded boots kernels that lack something that the agent uses. The agent must report it once
// in its log, and to each host that asks.
func TestDegraded(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	for _, tt := range []struct {
		word string
		want map[string]string // the fact, and the line of the log
	}{
		{"cgroup_disable=memory", map[string]string{"memory": "warn memory of commands is not limited"}},
		{"cgroup_disable=pids", map[string]string{"pids": "warn processes of commands are not limited"}},
		{"psi=0", map[string]string{"psi": "warn memory stalls are not monitored"}},
	} {
		t.Run(tt.word, func(t *testing.T) {
			t.Parallel()
			c := usual(t, l)
			c.Cmdline = []string{tt.word}
			v, conn := boot(t, l, c)
			r := dialRaw(t, v.UDS(), "1000")
			r.want(wiretest.Ready, 0, "")
			_, _, facts := r.hello()
			for name, line := range tt.want {
				if facts["degraded."+name] == "" {
					t.Errorf("degraded.%s is not among the facts", name)
				}
				if n := v.console.count(line); n != 1 {
					t.Errorf("the console says %d times %q", n, line)
				}
			}
			for name, reason := range facts {
				if short, is := strings.CutPrefix(name, "degraded."); is && tt.want[short] == "" {
					t.Errorf("%s: %s", name, reason)
				}
			}
			const left = "cat /proc/sys/vm/overcommit_memory; env | grep -c psi || :"
			if got := run(t, conn, left); got != "0\n0\n" {
				t.Errorf("overcommit_memory and the words of psi in the environment: %q", got)
			}
		})
	}
}
