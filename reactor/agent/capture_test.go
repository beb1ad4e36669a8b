package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// slow makes every turn of an agent's loop a long one, as a slow disk does.
type slow struct {
	reactor.Timer
	loop *reactor.Loop
}

func (s *slow) Expired(*reactor.Timer) {
	time.Sleep(pipeGrace / 4)
	s.loop.Start(&s.Timer, 0, s)
}

// TestLastOutput has a command write more than the agent reads within the time for which it waits for the pipes' end, and exit.
func TestLastOutput(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	b := startBox(t)
	h := b.dial()
	path, f := b.fifo("go")
	h.exec(1, "read x < "+path+"; head -c "+sys.Num(size)+" /dev/zero")
	b.until("it runs", func(a *Agent) bool { return len(a.commands) == 1 })
	var s slow
	b.do(func(a *Agent) {
		if _, err := unix.FcntlInt(uintptr(a.commands[0].stdout.pipe.FD()), unix.F_SETPIPE_SZ, size); err != nil {
			t.Error("F_SETPIPE_SZ: ", err)
		}
		s.loop = a.loop
		s.Expired(nil)
	})
	f.WriteString("\n")
	r := h.result(1)
	b.do(func(*Agent) { s.Stop() })
	if r.ExitCode != 0 || len(r.Stdout) != size || len(r.Stderr) != 0 {
		t.Errorf("code %d, %d bytes, stderr %q", r.ExitCode, len(r.Stdout), r.Stderr)
	}
	b.quiet(1)
}
