package guest

import (
	"strings"
	"testing"
)

// leastMiB is a little more than the least memory with which Debian's kernel and the initramfs come up.
const leastMiB = 84

// TestPowerCut boots a machine without a console, takes its power away right after a shutdown was acknowledged, and boots another
// one on the disk as it was left: with a journal to replay, and with the least memory.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	l := needLab(t)
	c := usual(t, l)
	c.NoConsole = true
	v, conn := boot(t, l, c)
	// Descriptors 0 to 2 lead somewhere that takes and gives nothing, and are neither a socket nor a disk's.
	fds := strings.Fields(run(t, conn, "for fd in 0 1 2; do readlink /proc/1/fd/$fd; done"))
	for i, fd := range fds {
		if fd != "/dev/null" && fd != "/dev/console" {
			t.Errorf("descriptor %d of process 1 is %s", i, fd)
		}
	}
	if len(fds) != 3 {
		t.Errorf("descriptors 0 to 2 of process 1 are %q", fds)
	}
	if got := run(t, conn, "echo out; echo err >&2; cat"); got != "out\n" {
		t.Errorf("the output is %q", got)
	}
	run(t, conn, "echo kept >/root/last")
	if err := conn.Shutdown(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	v.Kill()
	v.free()
	if lines := v.ConsoleTail(0); len(lines) != 0 {
		t.Errorf("a machine without a console has said %q", lines)
	}

	c.NoConsole, c.MemoryMiB = false, leastMiB
	v, conn = boot(t, l, c)
	if got := run(t, conn, "cat /root/last"); got != "kept\n" {
		t.Errorf("the file from before the power cut is %q", got)
	}
	// It is no less of a machine for that.
	if got := run(t, conn, "seq 100000 >/root/seq && sync && tail -n 1 /root/seq"); got != "100000\n" {
		t.Errorf("got %q", got)
	}
	t.Log(strings.Join(strings.Fields(run(t, conn, "grep -E 'MemTotal|MemAvailable' /proc/meminfo")), " "))
	run(t, conn, "kill -TERM 1; true")
	v.gone()
	wantClean(t, c.overlay)
}
