package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestKill has a timeout end all that belongs to a command, whichever way it is known.
func TestKill(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, command string
		cgroup        bool // what it takes to know the processes by
	}{
		{"group", "sleep 1000 & sleep 1000 & wait", false},
		{"sessions", "setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & wait", false},
		{"ignores", "trap '' TERM INT HUP; sleep 1000 & while :; do wait; done", false},
		{"stopped", "sleep 1000 & kill -STOP $!; wait", false},
		{"deep", "sh -c 'sh -c \"setsid sh -c \\\"sleep 1000; :\\\"; :\"; :'; :", false},
		{"forks fast", "while :; do sh -c 'sh -c :' & sh -c :; done", false},
		{"double fork", "sh -c 'setsid sh -c \"sleep 1000; :\" &'; sleep 1000", true},
		{"closed pipes", "(setsid sleep 1000 >/dev/null 2>&1 &); sleep 1000", true},
	}
	for _, test := range tests {
		for _, cgroup := range []bool{true, false} {
			if test.cgroup && !cgroup {
				continue
			}
			name := test.name + " by /proc"
			if cgroup {
				name = test.name + " by cgroup"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := startBox(t)
				b.do(func(a *Agent) {
					if cgroup && !a.contain.Contained() {
						t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
					}
					if !cgroup {
						a.contain.Fail(unix.ENOSYS)
					}
				})
				h := b.dial()
				h.send(execFrame(framing.TypeExec, 1, 300, test.command))
				r := h.result(1)
				if r.ExitCode != 124 || !strings.HasSuffix(string(r.Stderr), "Timeout") {
					t.Errorf("code %d, stderr %q", r.ExitCode, r.Stderr)
				}
				b.quiet(1)
				b.until("all dead", func(*Agent) bool { return len(b.processes()) == 0 })
			})
		}
	}
}

// TestKillOfWhatCannotDie answers a timeout although the process waits in the kernel, and nothing ends it.
func TestKillOfWhatCannotDie(t *testing.T) {
	t.Parallel()
	dir, fd := disk(t)
	b := startBox(t)
	h := b.dial()
	if err := unix.IoctlSetInt(fd, fiFreeze, 0); err != nil {
		t.Fatal(err)
	}
	h.send(execFrame(framing.TypeExec, 1, 100, "echo said; echo x > "+dir+"/file; echo unsaid"))
	if r := h.result(1); r.ExitCode != 124 || string(r.Stdout) != "said\n" || string(r.Stderr) != "Timeout" {
		t.Errorf("code %d, stdout %q, stderr %q", r.ExitCode, r.Stdout, r.Stderr)
	}
	b.do(func(a *Agent) {
		if len(a.running) != 1 {
			t.Error("it has died")
		}
	})
	if err := unix.IoctlSetInt(fd, fiThaw, 0); err != nil {
		t.Fatal(err)
	}
	b.quiet(1)
}

// processes are those started by the box's agent, known by an entry of their environment.
func (b *box) processes() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte("BOX="+b.dir+"\x00")) {
			pids = append(pids, f)
		}
	}
	return pids
}
