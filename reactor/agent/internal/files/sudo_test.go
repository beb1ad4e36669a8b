package files

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
)

// sudoRoom makes a service that is not root's, and whose sudo is a shell script. A host asks it
// to write a file as root.
func sudoRoom(t *testing.T, script string) (r *room, h *roomtest.Host) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	r = newRoom(t, func(cfg *Config) { cfg.Root, cfg.SudoPath = false, dir })
	h = r.Dial()
	w := framing.WriteFile{Path: []byte(filepath.Join(dir, "file")), Sudo: true, Size: 1}
	h.Send(append(framing.AppendWriteFileHead(nil, 1, &w), 'x'))
	return r, h
}

// TestSudoReason holds that the reason of a failure is the beginning of what sudo wrote to
// stderr. A process that sudo has left running holds its stderr, and does not delay the reply.
func TestSudoReason(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ script, want string }{
		"nothing":     {"exit 7", "sudo: exit status 7"},
		"white space": {"echo >&2; exit 1", "sudo: exit status 1"},
		"a line":      {"printf 'not allowed\\n\\n' >&2; exit 1", "sudo: not allowed"},
		"two lines":   {"printf 'not\\nallowed' >&2; exit 1", "sudo: not\nallowed"},
		"much":        {"head -c 1000000 /dev/zero | tr '\\000' y >&2; exit 1", "sudo: " + strings.Repeat("y", 512)},
		"a process left running": {
			"mkfifo $0.fifo; exec 3<>$0.fifo; sh -c 'read x <&3; echo late >&2' & echo early >&2; exit 1", "sudo: early",
		},
		"a success": {"echo said >&2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h := sudoRoom(t, x.script)
			if got := h.Wrote(1); got != x.want {
				t.Errorf("write_file says %q, want %q", got, x.want)
			}
			h.Ping(2)
		})
	}
}

// TestSudoHangs has a sudo that does not end. It is killed after its time, and the reply says
// so. Where it cannot be killed, as one that is root's, the reply does not wait for its end.
func TestSudoHangs(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{true, false} {
		r, h := sudoRoom(t, "echo $$ > $0.pid; exec sleep 1000")
		var pid int
		roomtest.WaitFor(t, "sudo runs", func() bool {
			text, _ := os.ReadFile(filepath.Join(r.s.SudoPath, "sudo.pid"))
			pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return pid > 0
		})
		r.Do(func() {
			var t *reactor.Timer
			w := &r.s.commits[0].sudo
			if w.Expired(t); !kill {
				w.Expired(t)
			}
		})
		if got := h.Wrote(1); !strings.Contains(got, "connection timed out") {
			t.Errorf("write_file says %q, want a timeout", got)
		}
		h.Ping(2)
		roomtest.WaitFor(t, "sudo is dead", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	}
}
