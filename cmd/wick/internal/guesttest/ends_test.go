package guesttest

import (
	"testing"

	"wick/framing/client"
)

// testShutdown ends the machine without loss: shutdown, its acknowledgement, power off. A host that
// cannot press keys sends SIGTERM for the last.
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

// signal sends process 1 a signal that ends the machine, and with it this command.
func signal(t *testing.T, c *client.Client, name string) {
	t.Helper()
	// The end of the command is a race. The connection may also end before its answer.
	c.Exec(deadline(t, stepLimit), client.Exec{Command: "kill -" + name + " 1"})
}

// terminated runs a command that the end of the machine kills. It returns a function that checks
// its result.
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

// TestStubborn shuts a machine down in which commands ignore SIGTERM. They must be killed after
// five seconds, and the disk must be clean although they held files open on it.
func TestStubborn(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	v, conn := boot(t, l, c)
	run(t, conn, "mkfifo /run/written")
	spawn(t, conn, `trap '' TERM HUP INT; exec 5>/root/held; n=0; while :; do echo $((n+=1)) >&5; [ $n != 1000 ] || echo >/run/written; done`)
	run(t, conn, "read x </run/written")
	stubborn := terminated(t, conn, `trap "" TERM; while :; do sleep 1000; done`, 128+9)
	obedient := terminated(t, conn, "exec sleep 1000", 128+15)
	run(t, conn, "echo kept >/root/last; (setsid sh -c \"trap '' TERM; while :; do sleep 1000; done\" &)")
	signal(t, conn, "TERM")
	obedient()
	stubborn()
	v.gone()
	v.console.await(t, "killing processes that survived SIGTERM", 1)
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/last"); got != "kept\n" {
		t.Errorf("on the disk there is %q", got)
	}
}
