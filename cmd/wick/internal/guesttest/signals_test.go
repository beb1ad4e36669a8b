package guesttest

import (
	"strings"
	"testing"

	"wick/framing/client"
)

// catcher reports when it is ready, counts its signals until it has got each of them, and prints
// their names.
const catcher = `
for s in HUP QUIT WINCH; do trap "got_$s=1" $s; done
echo >/run/ready
until [ "$got_HUP$got_QUIT$got_WINCH" = 111 ]; do sleep 0.1; done
echo all`

// storm sends process 1 each signal 200 times, including those with which the kernel reports
// faults. It is itself a command, and must survive its own signals.
const storm = `
trap '' HUP QUIT WINCH
n=0
while [ $n -lt 200 ]; do
	for s in HUP QUIT WINCH ILL TRAP ABRT BUS FPE SEGV STKFLT SYS; do kill -$s 1; done
	n=$((n+1))
done`

// testSignals sends a storm of signals to process 1. It must survive and pass them on to the groups
// of running commands.
func testSignals(t *testing.T, s *served) {
	run(t, s.conn, "mkfifo /run/ready")
	other := s.dial(t)
	pids := []uint32{spawn(t, s.conn, catcher), spawn(t, other, catcher)}
	run(t, s.conn, "exec 3<>/run/ready; read x <&3; read x <&3; rm /run/ready")
	run(t, s.conn, storm)
	for i, c := range []*client.Client{s.conn, other} {
		if e := exit(t, c, pids[i]); e.ExitCode != 0 || string(e.Stdout) != "all\n" {
			t.Errorf("catcher %d: exit code %d, stdout %q, stderr %q", i, e.ExitCode, e.Stdout, clip(e.Stderr))
		}
	}
	// vm-init is still process 1, and a command without handlers ends by the signal.
	if got := run(t, s.conn, "cat /proc/1/comm"); strings.TrimSpace(got) != "vm-init" {
		t.Errorf("process 1 is %q", got)
	}
	if r := result(t, s.conn, client.Exec{Command: "kill -HUP 1; exec sleep 60"}); r.ExitCode != 128+1 {
		t.Errorf("exit code %d, want 129: process 1 got SIGHUP", r.ExitCode)
	}
}

// initctl returns the bytes that sysvinit's tools write for a run level, and systemd's if systemd
// does not run.
func initctl(level string) string {
	return `{ printf '\151\031\011\003\001\000\000\000` + level + `'; head -c 375 /dev/zero; } | dd bs=384 count=1 iflag=fullblock of=/run/initctl`
}

// TestPowerCommands ends machines by commands typed in them, and by the requests of systemd's
// tools. Commands are terminated, the disk is clean, and a machine with a power-off is switched
// off.
func TestPowerCommands(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	for name, tt := range map[string]struct{ command, reason string }{
		"poweroff": {"poweroff", "guest-shutdown"}, "halt": {"halt", "guest-shutdown"}, "reboot": {"reboot", "guest-reset"},
		"signal 37": {"kill -37 1", "guest-shutdown"}, "signal 38": {"kill -38 1", "guest-shutdown"}, "signal 39": {"kill -39 1", "guest-reset"},
		"run level 0": {"echo nothing >/run/initctl; " + initctl("1") + "; " + initctl("0"), "guest-shutdown"}, "run level 6": {initctl("6"), "guest-reset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := usual(t, l)
			v, conn := boot(t, l, c)
			ends := terminated(t, conn, "trap 'echo kept >/root/last; exit 7' TERM; trap 'exit 8' USR1 USR2; while :; do sleep 0.1; done", 7)
			r, err := conn.Exec(deadline(t, stepLimit), client.Exec{Command: tt.command})
			t.Logf("%q: %+v, %v", tt.command, r, err) // a race
			ends()
			v.goneBy(tt.reason)
			wantClean(t, c.overlay)
			if got := onDisk(t, c.overlay, "/root/last"); got != "kept\n" {
				t.Errorf("on the disk there is %q", got)
			}
		})
	}
}
