package guesttest

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"wick/framing/client"
)

// run runs a command in the guest and returns its output. The command must exit with 0.
func run(t *testing.T, c *client.Client, command string) string {
	t.Helper()
	r := result(t, c, client.Exec{Command: command})
	if r.ExitCode != 0 {
		t.Fatalf("%s\nexit code %d, stdout %q, stderr %q", command, r.ExitCode, clip(r.Stdout), clip(r.Stderr))
	}
	return string(r.Stdout)
}

// result runs a command and returns its result.
func result(t *testing.T, c *client.Client, e client.Exec) *client.Result {
	t.Helper()
	r, err := c.Exec(deadline(t, 2*stepLimit), e)
	if err != nil {
		t.Fatalf("%s\n%v", e.Command, err)
	}
	return r
}

// spawn starts a command.
func spawn(t *testing.T, c *client.Client, command string) uint32 {
	t.Helper()
	pid, err := c.Spawn(deadline(t, stepLimit), client.Exec{Command: command})
	if err != nil {
		t.Fatalf("%s\n%v", command, err)
	}
	return pid
}

// exit waits for the end of a spawned command.
func exit(t *testing.T, c *client.Client, pid uint32) *client.Exit {
	t.Helper()
	e, err := c.WaitExit(deadline(t, stepLimit), pid)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// put writes a file.
func put(t *testing.T, c *client.Client, path string, content []byte) {
	t.Helper()
	if err := c.WriteFile(deadline(t, stepLimit), path, bytes.NewReader(content), int64(len(content)), client.WriteFileOptions{}); err != nil {
		t.Fatal(err)
	}
}

// until runs a command repeatedly until it exits with 0, for states without an event.
func until(t *testing.T, c *client.Client, command string) {
	t.Helper()
	limit := time.Now().Add(stepLimit)
	for {
		r := result(t, c, client.Exec{Command: command})
		if r.ExitCode == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s\nstill exit code %d, stdout %q, stderr %q", command, r.ExitCode, clip(r.Stdout), clip(r.Stderr))
		}
	}
}

// status returns a figure of process 1, sizes in kB.
func status(t *testing.T, c *client.Client, name string) int {
	t.Helper()
	return figure(t, run(t, c, "cat /proc/1/status"), name)
}

// figure finds "name: 123" in a text.
func figure(t *testing.T, text, name string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return 0
}

// clip returns the beginning of an output, for a message.
func clip(b []byte) []byte { return b[:min(len(b), 400)] }
