package agent

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCgroupRemoved has somebody remove the cgroups that wait for a command. One command runs without, and the next has one again.
func TestCgroupRemoved(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	h.exec(1, "true")
	h.result(1)
	usable := true
	b.do(func(a *Agent) {
		if usable = a.contain.path != ""; !usable {
			return
		}
		if len(a.contain.idle) == 0 {
			t.Error("no cgroup waits")
		}
		for _, g := range a.contain.idle {
			if err := unix.Rmdir(g.name); err != nil {
				t.Error(err)
			}
		}
	})
	if !usable {
		t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
	const own = "tail -n 1 /proc/self/cgroup"
	for seq := uint32(2); seq < 4; seq++ {
		h.exec(seq, own)
		if r := h.result(seq); r.ExitCode != 0 {
			t.Fatal(r)
		}
	}
	b.do(func(a *Agent) {
		if a.contain.path == "" || len(a.contain.idle) != 1 || a.contain.strikes != 0 {
			t.Errorf("not contained again: %+v", a.contain)
		}
	})
	b.quiet(1)
}
