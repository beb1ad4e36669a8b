package guesttest

import (
	"testing"

	"wick/bench/budget"
)

// Between the two readings nothing arrives from the host, and the command deals only with its own
// children. It prints its findings at the end, because output would wake process 1.
const idle = `
switches() { cat /proc/1/task/*/status | sed -n 's/.*ctxt_switches:[[:space:]]*//p' | tr '\n' ' '; }
sleep 1
before=$(switches)
sleep 5
after=$(switches)
sum() { n=0; for i; do n=$((n+i)); done; echo $n; }
echo "idle: $(( $(sum $after) - $(sum $before) ))"
cat /proc/1/status`

func testFigures(t *testing.T, s *served) {
	t.Logf("vm-init by the guest's clock, from the kernel's start and from its own to the root's being up: %s", s.console.await(t, "info up ", 1))
	out := run(t, s.conn, idle)
	s.idleHWM = figure(t, out, "VmHWM")
	for _, f := range []struct {
		name string
		most int
	}{
		{"VmRSS", budget.InitRSS}, {"RssAnon", budget.InitAnon}, {"Threads", budget.InitThreads}, {"idle", budget.IdleSwitches},
	} {
		got := figure(t, out, f.name)
		t.Logf("%s %d", f.name, got)
		if got > f.most {
			t.Errorf("%s is %d, want at most %d", f.name, got, f.most)
		}
	}
}
