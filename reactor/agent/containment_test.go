package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
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

// TestCgroupRefused has the kernel start nothing in the cgroups that there are, as one before Linux 5.7. Commands run without, and after three of them
// it is not tried again.
func TestCgroupRefused(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	usable := true
	for seq := range uint32(maxStrikes + 1) {
		b.do(func(a *Agent) {
			if seq == 0 {
				usable = a.contain.path != ""
			}
			if !usable || a.contain.path == "" {
				return
			}
			dir, err := sys.OpenDir(b.work) // which is no cgroup
			if err != nil {
				t.Fatal(err)
			}
			a.contain.idle = append(a.contain.idle, &cgroup{name: b.work + "/none", dir: dir})
		})
		if !usable {
			t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
		}
		h.exec(seq, "echo all the same")
		if r := h.result(seq); r.ExitCode != 0 || string(r.Stdout) != "all the same\n" {
			t.Fatal(r)
		}
		b.do(func(a *Agent) {
			if contained := a.contain.path != ""; contained != (seq+1 < maxStrikes) {
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
	const many = 3 * maxIdle
	path, f := b.fifo("go")
	for seq := range uint32(many) {
		h.exec(seq, "(exec >/dev/null 2>&1; read x <"+path+") & read x <"+path)
	}
	usable := true
	b.until("all run", func(a *Agent) bool { usable = a.contain.path != ""; return len(a.running) == many })
	if usable {
		b.until("as many again", func(*Agent) bool { return len(b.processes()) == 2*many })
		b.do(func(a *Agent) {
			if a.contain.busy != many || len(a.contain.idle) > 0 {
				t.Errorf("%d in use, %d idle", a.contain.busy, len(a.contain.idle))
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
		dirs, err := filepath.Glob(a.contain.path + "/[0-9]*")
		if err != nil || len(dirs) > maxIdle || a.contain.busy != 0 || len(a.contain.left) != 0 {
			t.Errorf("%d are there, %d in use, %d left to processes, %v", len(dirs), a.contain.busy, len(a.contain.left), err)
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
		if len(a.contain.idle) > 0 {
			name = a.contain.idle[0].name
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
	const many = 3 * maxIdle
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
	b.do(func(a *Agent) { usable = a.contain.path != "" && a.contain.busy == many })
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
		return len(a.contain.idle) <= maxIdle && len(a.contain.left) == 0 && !a.contain.shrink.Running()
	})
	h.exec(many, "true")
	for range many + 1 {
		h.read()
	}
}

// TestCommandMemory computes what commands may have.
func TestCommandMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct {
		name                        string
		current, outside, was, want uint64
	}{
		{"a small machine", 0, 16 * mib, 99 * mib, 10 * mib},
		{"a usual machine", 0, 56 * mib, 40 * mib, 45 * mib},
		{"the same, in use", 40 * mib, 16 * mib, 50 * mib, 45 * mib},
		{"a large machine", 0, 4096 * mib, 99 * mib, 4064 * mib},
		{"hardly any memory", 0, 4 * mib, 99 * mib, 2 * mib},
		{"memory that was not charged is gone, and commands are at their limit", 45 * mib, 4 * mib, 45 * mib, 45 * mib},
		{"a balloon took it", 40 * mib, 0, 45 * mib, 41 * mib},
	} {
		if got := commandMemory(tt.current, tt.outside, tt.was); got != tt.want {
			t.Errorf("%s: commandMemory(%d, %d, %d MiB) = %d MiB, want %d", tt.name, tt.current/mib, tt.outside/mib, tt.was/mib, got/mib, tt.want/mib)
		}
	}
}
