package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// contained reports whether the commands of a box run in cgroups.
func (b *box) contained() (yes bool) {
	b.Helper()
	b.do(func(a *Agent) { yes = a.contain.Contained() })
	return yes
}

// needCgroups skips a test where commands have no cgroups.
func (b *box) needCgroups() {
	b.Helper()
	if !b.contained() {
		b.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
}

// TestCgroupRemoved removes the cgroup that waits for a command. One command runs without, and
// the next has one again.
func TestCgroupRemoved(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.needCgroups()
	h := b.dial()
	h.Exec(1, "true")
	h.Result(1)
	b.do(func(a *Agent) {
		if err := unix.Rmdir(a.contain.Next()); err != nil {
			t.Errorf("rmdir %q: %v", a.contain.Next(), err)
		}
	})
	for seq := uint32(2); seq < 4; seq++ {
		h.Exec(seq, "exit 5")
		if r := h.Result(seq); r.ExitCode != 5 {
			t.Fatalf("command %d: %+v, want code 5", seq, r)
		}
	}
	b.do(func(a *Agent) {
		if !a.contain.Contained() || a.contain.Idle() != 1 || !a.contain.Steady() {
			t.Errorf("not contained again: %+v", a.contain)
		}
	})
	b.quiet(1)
}

// TestCgroupRefused has a pool whose cgroups start nothing, as before Linux 5.7. Commands run
// without, and after three of them cgroups are not tried again.
func TestCgroupRefused(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.needCgroups()
	h := b.dial()
	for seq := range uint32(contain.MaxStrikes + 1) {
		b.do(func(a *Agent) {
			if !a.contain.Contained() {
				return
			}
			dir, err := sys.OpenDir(b.work) // which is no cgroup
			if err != nil {
				t.Error(err)
			}
			a.contain.Adopt(b.work+"/none", dir)
		})
		h.Exec(seq, "echo all the same")
		if r := h.Result(seq); r.ExitCode != 0 || string(r.Stdout) != "all the same\n" {
			t.Fatalf("command %d: %+v", seq, r)
		}
		if got, want := b.contained(), seq+1 < contain.MaxStrikes; got != want {
			t.Errorf("contained after %d: %v, want %v", seq+1, got, want)
		}
	}
	b.quiet(1)
}

// TestCgroupsShrink runs many commands at once, each of which leaves a process running that
// ends later. Soon after the last of them few cgroups stay, and no timer runs.
func TestCgroupsShrink(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.needCgroups()
	h := b.dial()
	const many = 3 * contain.MaxIdle
	path, f := b.Fifo()
	for seq := range uint32(many) {
		h.Exec(seq, "(exec >/dev/null 2>&1; read x <"+path+") & read x <"+path)
	}
	b.untilRunning(many)
	b.until("each has left a process", func(*Agent) bool { return len(b.processes()) == 2*many })
	b.do(func(a *Agent) {
		if a.contain.Busy() != many || a.contain.Idle() > 0 {
			t.Errorf("%d cgroups in use, %d idle, want %d and 0", a.contain.Busy(), a.contain.Idle(), many)
		}
	})
	f.WriteString(strings.Repeat("\n", 2*many))
	for range many {
		h.Next()
	}
	b.until("all have ended", func(*Agent) bool { return len(b.processes()) == 0 })
	for seq := range uint32(many + 1) { // a start looks at what was left
		h.Exec(seq, "true")
		h.Result(seq)
	}
	b.until("few cgroups are kept, and no timer runs", func(a *Agent) bool {
		dirs, err := filepath.Glob(a.contain.Path() + "/[0-9]*")
		return err == nil && len(dirs) <= contain.MaxIdle && a.contain.Left() == 0 && a.contain.Steady()
	})
	b.quiet(1)
}

// TestCgroupFrozen kills a command that has frozen its own cgroup. The next command is not
// started there, where it could not come to execute its program.
func TestCgroupFrozen(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.needCgroups()
	h := b.dial()
	h.Exec(1, "true")
	h.Result(1)
	name := ""
	b.do(func(a *Agent) { name = a.contain.Next() })
	freeze := name + "/cgroup.freeze"
	defer os.WriteFile(freeze, []byte("0"), 0) // or an agent with this fault would not end
	h.Exec(2, "echo 1 >"+freeze)
	b.until("it is frozen", func(a *Agent) bool {
		events, _ := os.ReadFile(name + "/cgroup.events")
		return strings.Contains(string(events), "frozen 1")
	})
	b.do(func(a *Agent) { unix.Kill(a.table.Running()[0].PID(), unix.SIGKILL) })
	if r := h.Result(2); r.ExitCode != 128+9 {
		t.Errorf("the command that was killed: %+v, want code 137", r)
	}
	h.Exec(3, "true")
	if r := h.Result(3); r.ExitCode != 0 {
		t.Errorf("the next command: %+v, want code 0", r)
	}
	b.quiet(1)
}

// TestReceiptWithoutCgroup holds that a receipt without a cgroup is of the command and its
// children, and counts what is left of its session.
func TestReceiptWithoutCgroup(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dialHello()
	b.do(func(a *Agent) { a.contain.Close() })
	if r := h.shell(4, "true").wait(); r.Tree || r.Peak == 0 || r.Left != 0 {
		t.Errorf("the receipt of true is of the tree: %v, peak %d, %d left; want false, a peak, 0",
			r.Tree, r.Peak, r.Left)
	}
	if r := h.shell(5, "sleep 1000 >&- 2>&- & exit 3").wait(); r.Code != 3 || r.Left != 1 {
		t.Errorf("the receipt has code %d, %d left, want 3 and 1", r.Code, r.Left)
	}
	b.quiet(1)
}
