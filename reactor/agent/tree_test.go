package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// twice runs a test whose agent knows the processes of commands by their cgroup, and by /proc.
func twice(t *testing.T, name string, test func(t *testing.T, b *box)) {
	for _, cgroup := range []bool{true, false} {
		t.Run(fmt.Sprintf("%s, cgroup %v", name, cgroup), func(t *testing.T) {
			t.Parallel()
			b := startBox(t)
			if cgroup {
				b.needCgroups()
			} else {
				b.do(func(a *Agent) { a.contain.Fail(unix.ENOSYS) })
			}
			test(t, b)
		})
	}
}

// TestKill has a timeout end all that belongs to a command, whichever way it is known.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, command string
		cgroup        bool // /proc does not show what belongs to it
	}{
		{"group", "sleep 1000 & sleep 1000 & wait", false},
		{"sessions", "setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & wait", false},
		{"ignores", "trap '' TERM INT HUP; sleep 1000 & while :; do wait; done", false},
		{"stopped", "sleep 1000 & kill -STOP $!; wait", false},
		{"deep", "sh -c 'sh -c \"setsid sh -c \\\"sleep 1000; :\\\"; :\"; :'; :", false},
		{"forks fast", "while :; do sh -c 'sh -c :' & sh -c :; done", false},
		{"double fork", "sh -c 'setsid sh -c \"sleep 1000; :\" &'; sleep 1000", true},
		{"closed pipes", "(setsid sleep 1000 >/dev/null 2>&1 &); sleep 1000", true},
	} {
		twice(t, test.name, func(t *testing.T, b *box) {
			if test.cgroup && !b.contained() {
				return
			}
			h := b.dial()
			h.Send(roomtest.Exec(framing.TypeExec, 1, 300, test.command))
			r := h.Result(1)
			if r.ExitCode != 124 || !strings.HasSuffix(string(r.Stderr), "Timeout") {
				t.Errorf("code %d, stderr %q, want 124 and Timeout", r.ExitCode, r.Stderr)
			}
			b.quiet(1)
			b.allDie()
		})
	}
}

// processes returns the processes that the box's agent has started, by an entry of their
// environment.
func (b *box) processes() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte("BOX="+b.dir+"\x00")) {
			pids = append(pids, f)
		}
	}
	return pids
}

// allDie waits until there are no processes. Those that were killed may take a moment.
func (b *box) allDie() {
	b.Helper()
	roomtest.WaitFor(b.T, "all processes are dead", func() bool { return len(b.processes()) == 0 })
}
