package guesttest

import (
	"strings"
	"testing"

	"wick/framing/wiretest"
)

// leastMiB is a little more than the 74 MiB with which Debian's kernel and the initramfs come up.
const leastMiB = 80

// TestPowerCut boots a machine without a console and cuts its power right after a shutdown was
// acknowledged. It boots another on the same disk, with a journal to replay, and with the least
// memory.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.NoConsole = true
	v, conn := boot(t, l, c)
	// Without a console the streams are /dev/null (1:3).
	if got := run(t, conn, "stat -L -c '%F %t:%T' /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2"); got != strings.Repeat("character special file 1:3\n", 3) {
		t.Errorf("descriptors 0 to 2 of process 1 are\n%s", got)
	}
	r := dialRaw(t, v.UDS(), "1000")
	r.want(wiretest.Ready, 0, "")
	if _, _, facts := r.hello(); facts["boot.console"] == "" || facts["degraded.console"] != "" {
		t.Errorf("a machine that was to have no console is poorer for it: %v", facts)
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
	// The machine works in full.
	if got := run(t, conn, "seq 100000 >/root/seq && sync && tail -n 1 /root/seq"); got != "100000\n" {
		t.Errorf("got %q", got)
	}
	t.Log(strings.Join(strings.Fields(run(t, conn, "grep -E 'MemTotal|MemAvailable' /proc/meminfo")), " "))
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, c.overlay)
}
