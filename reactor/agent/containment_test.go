package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
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
		if usable = a.contain.Contained(); !usable {
			return
		}
		if a.contain.Idle() == 0 {
			t.Error("no cgroup waits")
		}
		if err := unix.Rmdir(a.contain.Next()); err != nil {
			t.Error(err)
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
		if !a.contain.Contained() || a.contain.Idle() != 1 || !a.contain.Steady() {
			t.Errorf("not contained again: %+v", a.contain)
		}
	})
	b.quiet(1)
}

// TestCgroupRefused has the kernel start nothing in the cgroups that there are, as one before Linux 5.7. Commands run without, and after three of them
// it is not tried again.
func TestCgroupRefused(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	usable := true
	for seq := range uint32(contain.MaxStrikes + 1) {
		b.do(func(a *Agent) {
			if seq == 0 {
				usable = a.contain.Contained()
			}
			if !usable || !a.contain.Contained() {
				return
			}
			dir, err := sys.OpenDir(b.work) // which is no cgroup
			if err != nil {
				t.Fatal(err)
			}
			a.contain.Adopt(b.work+"/none", dir)
		})
		if !usable {
			t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
		}
		h.exec(seq, "echo all the same")
		if r := h.result(seq); r.ExitCode != 0 || string(r.Stdout) != "all the same\n" {
			t.Fatal(r)
		}
		b.do(func(a *Agent) {
			if contained := a.contain.Contained(); contained != (seq+1 < contain.MaxStrikes) {
				t.Errorf("after %d: contained %v", seq+1, contained)
			}
		})
	}
	b.quiet(1)
}

// TestCgroupsGoAway has many commands at a time, each of which leaves a process running that ends later. Few of their cgroups stay.
func TestCgroupsGoAway(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	const many = 3 * contain.MaxIdle
	path, f := b.fifo("go")
	for seq := range uint32(many) {
		h.exec(seq, "(exec >/dev/null 2>&1; read x <"+path+") & read x <"+path)
	}
	usable := true
	b.until("all run", func(a *Agent) bool { usable = a.contain.Contained(); return len(a.running) == many })
	if usable {
		b.until("as many again", func(*Agent) bool { return len(b.processes()) == 2*many })
		b.do(func(a *Agent) {
			if a.contain.Busy() != many || a.contain.Idle() > 0 {
				t.Errorf("%d in use, %d idle", a.contain.Busy(), a.contain.Idle())
			}
		})
	}
	f.WriteString(strings.Repeat("\n", 2*many))
	for range many {
		if typ, _, _ := h.read(); typ != framing.TypeExecResult {
			t.Fatal(typ)
		}
	}
	if !usable {
		t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
	b.until("all ended", func(*Agent) bool { return len(b.processes()) == 0 })
	for seq := range uint32(many + 1) {
		h.exec(seq, "true")
		h.result(seq)
	}
	b.do(func(a *Agent) {
		dirs, err := filepath.Glob(a.contain.Path() + "/[0-9]*")
		if err != nil || len(dirs) > contain.MaxIdle || a.contain.Busy() != 0 || a.contain.Left() != 0 {
			t.Errorf("%d are there, %d in use, %d left to processes, %v", len(dirs), a.contain.Busy(), a.contain.Left(), err)
		}
	})
	b.quiet(1)
}

// TestCgroupFrozen has a command freeze the cgroup that it is in and be killed, as what is frozen can be. The next command is not started
// there: it would be frozen before it is a program of its own, and the agent waits for that.
func TestCgroupFrozen(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	h.exec(1, "true")
	h.result(1)
	name := ""
	b.do(func(a *Agent) {
		if a.contain.Idle() > 0 {
			name = a.contain.Next()
		}
	})
	if name == "" {
		t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
	freeze := name + "/cgroup.freeze"
	defer os.WriteFile(freeze, []byte("0"), 0) // an agent that waits after all would not end
	h.exec(2, "echo 1 >"+freeze)
	b.until("frozen", func(a *Agent) bool {
		events, _ := os.ReadFile(name + "/cgroup.events")
		return strings.Contains(string(events), "frozen 1")
	})
	b.do(func(a *Agent) { unix.Kill(a.commands[0].pid, unix.SIGKILL) })
	if r := h.result(2); r.ExitCode != 128+9 {
		t.Error(r)
	}
	h.exec(3, "true")
	if r := h.result(3); r.ExitCode != 0 {
		t.Error(r)
	}
	b.quiet(1)
}

// TestCgroupsShrink has many commands run at once. Soon after them their cgroups are removed, by a
// timer that ends.
func TestCgroupsShrink(t *testing.T) {
	t.Parallel()
	const many = 3 * contain.MaxIdle
	b := startBox(t)
	h := b.dial()
	gate := filepath.Join(b.work, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	for seq := range uint32(many) {
		h.exec(seq, "read x <"+gate)
	}
	b.until("all commands run", func(a *Agent) bool { return len(a.running) == many })
	usable := true
	b.do(func(a *Agent) { usable = a.contain.Contained() && a.contain.Busy() == many })
	if !usable {
		t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
	f, err := os.OpenFile(gate, os.O_RDWR, 0) // and no reader waits any more
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range many {
		f.WriteString("go\n")
	}
	b.quiet(1)
	b.until("few cgroups are kept, and no timer", func(a *Agent) bool {
		return a.contain.Idle() <= contain.MaxIdle && a.contain.Left() == 0 && a.contain.Steady()
	})
	h.exec(many, "true")
	for range many + 1 {
		h.read()
	}
}
