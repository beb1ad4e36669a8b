package guest

import (
	"errors"
	"syscall"
	"testing"

	"wick/framing"
	"wick/framing/client"
)

// testReceipts has commands use memory, and more than there is, where a controller counts it: what their receipts say is so.
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
		// A cgroup that was used begins anew.
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
