package guesttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"wick/framing/client"
)

// relisten accepts the guest's own connection again after a test.
func (s *served) relisten(t *testing.T) {
	t.Helper()
	var err error
	if s.listen, err = client.Listen("firecracker-listen:"+s.UDS(), client.WithOnExit(s.exits.note)); err != nil {
		t.Fatal(err)
	}
	s.accept(t)
}

// testRequests has the client send every message, connected either way.
func testRequests(t *testing.T, s *served) {
	t.Run("guest connects", func(t *testing.T) { requests(t, s.conn) })
	t.Run("host connects", func(t *testing.T) { requests(t, s.dial(t)) })
}

func requests(t *testing.T, c *client.Client) {
	if _, err := c.Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	r := result(t, c, client.Exec{Command: `echo $ONE; echo $TWO >&2; exit 9`, Env: []string{"ONE=1", "TWO=2"}})
	if r.ExitCode != 9 || string(r.Stdout) != "1\n" || string(r.Stderr) != "2\n" {
		t.Errorf("result %d %q %q", r.ExitCode, r.Stdout, r.Stderr)
	}
	put(t, c, "/tmp/requests", []byte("one"))
	put(t, c, "/tmp/requests", []byte("two"))
	if got := run(t, c, "cat /tmp/requests; stat -c ' %a %u:%g' /tmp/requests; rm /tmp/requests"); got != "two 644 0:0\n" {
		t.Errorf("the file is %q", got)
	}
	err := c.WriteFile(deadline(t, stepLimit), "/proc/version", bytes.NewReader([]byte("x")), 1, client.WriteFileOptions{})
	if _, ok := errors.AsType[*client.WriteFileError](err); !ok {
		t.Errorf("write to /proc/version: error %v, want a WriteFileError", err)
	}
	if e := exit(t, c, spawn(t, c, "echo spawned; exit 4")); e.ExitCode != 4 || string(e.Stdout) != "spawned\n" {
		t.Errorf("exit %+v", e)
	}
	if err := c.Shutdown(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	if got := run(t, c, "ls /"); got == "" {
		t.Error("the guest serves no more after a shutdown")
	}
}

// testBothWays has several hosts at a time. Pings must be answered while commands run.
func testBothWays(t *testing.T, s *served) {
	conns := []*client.Client{s.conn, s.dial(t), s.dial(t)}
	ctx := deadline(t, 2*stepLimit)
	var work sync.WaitGroup
	for i, c := range conns {
		for j := range 4 {
			work.Go(func() {
				for k := range 5 {
					if err := ownResult(ctx, c, i, j, k); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		work.Go(func() {
			for range 50 {
				if _, err := c.Ping(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()

	// A command that does not end must not hold up anything.
	run(t, s.conn, "mkfifo /run/gate")
	slow := spawn(t, s.conn, "read x </run/gate; echo $x")
	for _, c := range conns {
		if _, err := c.Ping(ctx); err != nil {
			t.Error(err)
		}
	}
	run(t, s.conn, "echo open >/run/gate; rm /run/gate")
	if e := exit(t, s.conn, slow); string(e.Stdout) != "open\n" {
		t.Errorf("the slow command ended with %d, stdout %q", e.ExitCode, e.Stdout)
	}
}

// ownResult runs a command with a unique result.
func ownResult(ctx context.Context, c *client.Client, i, j, k int) error {
	want := fmt.Sprintf("%d.%d.%d", i, j, k)
	r, err := c.Exec(ctx, client.Exec{Command: "echo " + want + "; exit " + fmt.Sprint(i+j+k)})
	if err != nil {
		return err
	}
	if string(r.Stdout) != want+"\n" || r.ExitCode != i+j+k {
		return fmt.Errorf("command %s: exit code %d, stdout %q", want, r.ExitCode, r.Stdout)
	}
	return nil
}
