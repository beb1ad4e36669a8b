package guesttest

import (
	"errors"
	"syscall"
	"testing"

	"wick/framing"
	"wick/framing/client"
)

// testReceipts has commands use memory, and more than there is, where a controller counts it. Their
// receipts must be true.
func testReceipts(t *testing.T, s *served) {
	const mib = 1 << 20
	const eat = "a=$(head -c 100000 /dev/zero | tr '\\0' a); while :; do a=$a$a; done"
	for _, tt := range []struct {
		name   string
		cmd    *client.Cmd
		reason framing.ExitReason
		code   int
		signal syscall.Signal
		killed int
		peak   uint64 // at least, and at most three times as much
	}{
		{"little", s.conn.Command("true"), framing.ReasonExited, 0, 0, 0, 0},
		{"some", s.conn.ShellCommand("head -c 4194304 /dev/zero | tail -c 4194304 | wc -c; true"), framing.ReasonExited, 0, 0, 0, 4 * mib},
		// A reused cgroup starts from zero.
		{"little after some", s.conn.Command("true"), framing.ReasonExited, 0, 0, 0, 0},
		{"all that there is", s.conn.ShellCommand(eat), framing.ReasonOutOfMemory, 128 + 9, syscall.SIGKILL, 1, 32 * mib},
		{"a child of it", s.conn.Command("sh", "-c", `sh -c "$1"; exit 5`, "sh", eat), framing.ReasonExited, 5, 0, 1, 32 * mib},
		{"killed by somebody", s.conn.ShellCommand("kill -9 $$"), framing.ReasonSignalled, 128 + 9, syscall.SIGKILL, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := deadline(t, 2*stepLimit)
			err := tt.cmd.Start(ctx)
			if err == nil {
				_, err = tt.cmd.Wait(ctx)
			}
			if exit := (*client.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			r := tt.cmd.Receipt()
			if r.Reason != tt.reason || r.Code != tt.code || r.Signal != tt.signal || r.Killed != tt.killed {
				t.Errorf("%v, code %d, signal %v, %d killed; want reason %d, code %d, signal %v, %d killed",
					r, r.Code, r.Signal, r.Killed, tt.reason, tt.code, tt.signal, tt.killed)
			}
			if r.Peak == 0 || r.Peak < tt.peak || r.Peak > max(3*tt.peak, 8*mib) {
				t.Errorf("the peak was %d bytes, want %d and not much more", r.Peak, tt.peak)
			}
			t.Logf("%v, peak %d bytes, of the tree: %v", r, r.Peak, r.Tree)
		})
	}
}

// testFiguresAlone has a command use processor time and leave file cache behind, then runs the next
// one in the same cgroup. A list must show what this one alone uses. The receipts of one program
// must be the same before and after.
func testFiguresAlone(t *testing.T, s *served) {
	const mib = 1 << 20
	ctx := deadline(t, 4*stepLimit)
	receipt := func(line string) *client.Receipt {
		t.Helper()
		cmd := s.conn.ShellCommand(line)
		if err := cmd.Start(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := cmd.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// With all idle cgroups in use, the next command gets a new one.
	var sleepers []*client.Cmd
	for range 12 {
		cmd := s.conn.Command("sleep", "1000")
		if err := cmd.Start(ctx); err != nil {
			t.Fatal(err)
		}
		sleepers = append(sleepers, cmd)
	}
	before := receipt("true")
	for _, cmd := range sleepers {
		cmd.SignalTree(ctx, syscall.SIGKILL)
		cmd.Wait(ctx)
	}
	heavy := receipt("head -c 16777216 /dev/zero >/cache; md5sum /cache; md5sum /cache")
	spent := heavy.User + heavy.System
	defer run(t, s.conn, "rm /cache")
	for range 2 {
		sleeper := s.conn.Command("sleep", "1000")
		if err := sleeper.Start(ctx); err != nil {
			t.Fatal(err)
		}
		list, err := s.conn.Processes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.ID == sleeper.ID() && (p.CPU >= spent/2 || p.Memory == 0 || p.Memory > 4*mib || p.Processes != 1) {
				t.Errorf("a sleep after it: %v of processor time, %d bytes, %d processes; it used %v", p.CPU, p.Memory, p.Processes, spent)
			}
		}
		sleeper.SignalTree(ctx, syscall.SIGKILL)
		sleeper.Wait(ctx)
	}
	after := receipt("true")
	if after.Tree != before.Tree || after.User+after.System >= spent/2 || after.Peak == 0 || after.Peak > 8*mib {
		t.Errorf("receipt of true: %v, peak %d, of the tree %v, before it was %d, %v", after, after.Peak, after.Tree, before.Peak, before.Tree)
	}
}
