package guesttest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"wick/framing/client"
	"wick/framing/wiretest"
)

// refused checks that a command cannot be started for that reason, with a shell's exit code, while
// everything else is answered. Meanwhile tests must use files instead of commands.
func refused(t *testing.T, c *client.Client, code int, reason string) {
	t.Helper()
	for range 50 { // leaves garbage for the collector
		r := result(t, c, client.Exec{Command: "true"})
		if r.ExitCode != code || len(r.Stdout) > 0 || string(r.Stderr) != reason {
			t.Fatalf("exit code %d, stdout %q, stderr %q, want %d and %q", r.ExitCode, r.Stdout, r.Stderr, code, reason)
		}
		if _, err := c.Ping(deadline(t, stepLimit)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Spawn(deadline(t, stepLimit), client.Exec{Command: "true"}); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("spawn: %v, want %s", err, reason)
	}
}

// testNoShell removes the machine's shell, like in an image without one.
func testNoShell(t *testing.T, s *served) {
	run(t, s.conn, "mkfifo /run/away /run/back")
	mover := spawn(t, s.conn, "exec 3<>/run/back; mv /bin/sh /bin/away; echo >/run/away; read x <&3; mv /bin/away /bin/sh")
	run(t, s.conn, "exec 3</run/away; read x <&3") // it begins before the removal and ends after it
	refused(t, s.conn, 127, "exec /bin/sh: no such file or directory")
	put(t, s.conn, "/root/file", []byte("written without a shell"))
	if _, err := s.dial(t).Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	put(t, s.conn, "/run/back", []byte("\n"))
	if e := exit(t, s.conn, mover); e.ExitCode != 0 {
		t.Fatalf("the shell is not back: exit code %d, stderr %q", e.ExitCode, e.Stderr)
	}
	if got := run(t, s.conn, "cat /root/file; rm /root/file /run/away /run/back"); got != "written without a shell" {
		t.Errorf("the file has %q", got)
	}
}

// testOutOfProcesses makes the kernel refuse every new process and thread. The Go runtime would end
// process 1, and with it the machine, if it needed a thread.
func testOutOfProcesses(t *testing.T, s *served) {
	const file = "/proc/sys/kernel/threads-max"
	was := run(t, s.conn, "cat "+file)
	put(t, s.conn, file, []byte("20\n")) // the minimum; the kernel has more threads of its own
	refused(t, s.conn, 126, "exec /bin/sh: resource temporarily unavailable")
	if _, err := s.dial(t).Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	put(t, s.conn, file, []byte(was))
	if got := run(t, s.conn, "cat "+file); got != was {
		t.Errorf("%s is %q, want %q again", file, got, was)
	}
}

// testOutOfFiles makes the kernel open files for root only. Process 1 continues as before. An agent
// that is not root refuses requests that need a file, and continues too.
func testOutOfFiles(t *testing.T, s *served) {
	const file = "/proc/sys/fs/file-max"
	put(t, s.conn, "/agent", s.fixture.agent)
	run(t, s.conn, "chmod +x /agent")
	was := run(t, s.conn, "cat "+file)
	agent := spawn(t, s.conn, "exec start-stop-daemon -S -c 65534:65534 -x /agent -- --vsock-dial off --vsock-listen 2000")
	at := "firecracker:" + s.UDS() + ":2000"
	c, err := client.Dial(deadline(t, stepLimit), at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := run(t, c, "id -u"); got != "65534\n" {
		t.Fatalf("the user is %q", got)
	}
	put(t, s.conn, file, []byte("1\n"))
	refused(t, c, 126, "pipe command: too many open files in system")
	err = c.WriteFile(deadline(t, stepLimit), "/tmp/file", strings.NewReader("x"), 1, client.WriteFileOptions{})
	if failed, ok := errors.AsType[*client.WriteFileError](err); !ok || !strings.Contains(failed.Error(), "too many open files in system") {
		t.Errorf("write_file: %v, want that there are too many open files", err)
	}
	run(t, s.conn, "true")
	// A new connection is served later.
	late := dialRaw(t, s.UDS(), "2000")
	if _, err := c.Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	put(t, s.conn, file, []byte(was))
	late.want(wiretest.Ready, 0, "")
	if got := run(t, c, "echo again"); got != "again\n" {
		t.Errorf("got %q", got)
	}
	run(t, s.conn, fmt.Sprintf("kill %d; rm /agent", agent))
	e := exit(t, s.conn, agent)
	if e.ExitCode != 0 || strings.Count(string(e.Stderr), "warn not accepting for now") != 1 {
		t.Errorf("the agent ended with %d, and said\n%s", e.ExitCode, clip(e.Stderr))
	}
	late.wantEnd()
}
