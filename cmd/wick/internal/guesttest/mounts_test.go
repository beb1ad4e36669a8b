package guesttest

import (
	"strings"
	"testing"
)

// testMounts checks the view that a process of the guest has of its root.
func testMounts(t *testing.T, s *served) {
	seen := map[string]string{}
	for line := range strings.Lines(run(t, s.conn, "cat /proc/self/mounts")) {
		fields := strings.Fields(line)
		seen[fields[1]] = fields[2]
	}
	want := map[string]string{
		"/": "overlay", "/dev": "devtmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/proc": "proc", "/sys": "sysfs",
		"/sys/fs/cgroup": "cgroup2", "/run": "tmpfs", "/dev/mqueue": "mqueue",
	}
	for at, kind := range want {
		if seen[at] != kind {
			t.Errorf("%s is %q, want %q", at, seen[at], kind)
		}
	}
	// Neither the overlay disk nor the image is mounted anywhere.
	for at, kind := range seen {
		if want[at] == "" {
			t.Errorf("%s is mounted on %s", kind, at)
		}
	}
	if got := run(t, s.conn, "ls -d /rom /rw /upper /work /overlay 2>/dev/null; true"); got != "" {
		t.Errorf("the root has %q", got)
	}
	if got := run(t, s.conn, "ip -o link show lo | grep -c ',UP'; ulimit -n; echo $HOME; pwd"); got != "1\n10240\n/root\n/\n" {
		t.Errorf("loopback, limit, home and working directory are %q", got)
	}
}
