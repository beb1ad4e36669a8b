package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/framing"
)

// TestDialWaitsForAFreeConnection has more clients than the agent accepts. One more gets the
// agent's error, and waits for its turn.
func TestDialWaitsForAFreeConnection(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "--max-connections", "2")
	first, second := a.dial(), a.dial()
	full := func(what string, err error) {
		t.Helper()
		remote, ok := errors.AsType[*RemoteError](err)
		if !ok || !isType[*DialError](err) || !strings.Contains(remote.Message, "too many connections (limit 2)") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := Dial(testContext(t), a.addr, WithoutRetry())
	full("without retry", err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, a.addr)
	full("within 50 ms", err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("within 50 ms: %v", err)
	}
	third := dialing(t, a.addr)
	first.Close()
	if _, err := (<-third).must(t).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := second.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestSpawnStreams checks that stdout arrives as it is written, and is in a file of the guest.
func TestSpawnStreams(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	var got bytes.Buffer
	var of uint32
	c := a.dial(WithOnStdout(func(pid uint32, data []byte) {
		of = pid
		got.Write(data)
	}))
	log := filepath.Join(t.TempDir(), "log")
	pid, err := c.Spawn(testContext(t), Exec{Command: "seq 1 100000; echo err >&2; exit 3", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	exit, err := c.WaitExit(testContext(t), pid)
	if err != nil || exit.ExitCode != 3 || len(exit.Stdout) != 0 || string(exit.Stderr) != "err\n" {
		t.Fatalf("%+v, %v", exit, err)
	}
	logged, err := os.ReadFile(log)
	if err != nil || of != pid || got.Len() != 588895 || !bytes.Equal(got.Bytes(), logged) {
		t.Errorf("%d bytes of process %d, %d logged of process %d, %v", got.Len(), of, len(logged), pid, err)
	}
	// Output that is not taken does no harm.
	d := a.dial()
	if pid, err = d.Spawn(testContext(t), Exec{Command: "seq 1 100000", Stream: true}); err != nil {
		t.Fatal(err)
	}
	if exit, err := d.WaitExit(testContext(t), pid); err != nil || exit.ExitCode != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	for _, e := range []Exec{{Stream: true}, {Log: "/l"}} {
		if _, err := c.Exec(testContext(t), e); !isType[*RequestError](err) {
			t.Errorf("exec of %+v: %v", e, err)
		}
	}
	if _, err := c.Spawn(testContext(t), Exec{Log: strings.Repeat("x", framing.MaxText+1)}); !isType[*RequestError](err) {
		t.Errorf("a long path: %v", err)
	}
}

// TestWriteFileAppends sends a file in pieces.
func TestWriteFileAppends(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	path := filepath.Join(t.TempDir(), "new", "file")
	var want []byte
	for i, size := range []int{3, 0, 100 << 10, 1} {
		piece := bytes.Repeat([]byte{'a' + byte(i)}, size)
		want = append(want, piece...)
		if err := c.WriteFile(testContext(t), path, bytes.NewReader(piece), int64(size), WriteFileOptions{Append: true}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
}
