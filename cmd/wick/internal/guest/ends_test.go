package guest

import (
	"testing"

	"wick/framing/client"
)

// testShutdown ends the machine as a host does that wants nothing lost: shutdown, its acknowledgement, power off. A host without a way to
// press keys uses SIGTERM for that.
func testShutdown(t *testing.T, s *served) {
	run(t, s.conn, "echo before shutdown >/root/last")
	if err := s.conn.Shutdown(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	run(t, s.conn, "echo after shutdown >>/root/last")
	if err := s.PowerOff(deadline(t, downLimit), s.conn); err != nil {
		t.Error(err)
	}
	s.gone()
	wantClean(t, s.overlay)
	if got := onDisk(t, s.overlay, "/root/last"); got != "before shutdown\nafter shutdown\n" {
		t.Errorf("on the disk there is %q", got)
	}
}

// terminated runs a command that the end of the machine ends, and returns a function that wants its result.
func terminated(t *testing.T, c *client.Client, command string, code int) (want func()) {
	t.Helper()
	run(t, c, "mkfifo /run/up")
	type answer struct {
		r   *client.Result
		err error
	}
	got := make(chan answer, 1)
	ctx := deadline(t, stepLimit+downLimit)
	go func() {
		r, err := c.Exec(ctx, client.Exec{Command: "echo >/run/up; " + command})
		got <- answer{r, err}
	}()
	run(t, c, "read x </run/up; rm /run/up")
	return func() {
		t.Helper()
		if a := <-got; a.err != nil || a.r.ExitCode != code {
			t.Errorf("the command that was terminated: %+v, %v, want exit code %d", a.r, a.err, code)
		}
	}
}
