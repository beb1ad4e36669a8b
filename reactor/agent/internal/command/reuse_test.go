package command

import (
	"testing"

	"wick/reactor/agent/internal/sys"
)

// TestReuse runs commands one after the other, which take turns in the same memory. A command that
// has left its pipes to another process keeps its own.
func TestReuse(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h := r.Dial()
	spares := func(want int) (cmd *command) {
		t.Helper()
		r.Do(func() {
			if len(r.s.spares) != want {
				t.Errorf("%d commands are kept for reuse, want %d", len(r.s.spares), want)
			}
			if want > 0 {
				cmd = r.s.spares[0]
			}
		})
		return cmd
	}
	want := func(seq uint32, code int32, stdout, stderr string) {
		t.Helper()
		got := h.Result(seq)
		if got.ExitCode != code || string(got.Stdout) != stdout || string(got.Stderr) != stderr {
			t.Errorf("request %d: code %d, stdout %q, stderr %q; want %d, %q, %q",
				seq, got.ExitCode, got.Stdout, got.Stderr, code, stdout, stderr)
		}
	}
	h.Exec(1, "echo out; echo err >&2; exit 7")
	want(1, 7, "out\n", "err\n")
	first := spares(1)
	for seq := range uint32(3) {
		h.Exec(2+seq, "echo "+sys.Num(seq))
		want(2+seq, 0, sys.Num(seq)+"\n", "")
		if spares(1) != first {
			t.Errorf("request %d took other memory than the first", 2+seq)
		}
	}
	path, f := r.Fifo()
	h.Exec(5, "{ read x <"+path+"; echo late; } & exit 3")
	want(5, 3, "", "")
	spares(0)
	h.Exec(6, "echo another")
	want(6, 0, "another\n", "")
	f.WriteString("\n")
	if spares(1) == first {
		t.Error("a command was reused while its pipes were open")
	}
	r.quiet()
}
