package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestConfigure sets options and secrets of a guest, of which one line and one secret are wrong.
func TestConfigure(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	err := c.Configure(ctx, "command-env=A=1\nno-such\n",
		Secret{Name: "TOKEN", Value: []byte("a\nb"), Env: true}, Secret{Name: "NUL", Value: []byte{0}, Env: true})
	refused, ok := errors.AsType[*ConfigError](err)
	want := []Fact{{"secret.NUL", "an entry of the environment has no NUL"}, {"line.2", "no-such: unknown option"}}
	if !ok || !slices.Equal(refused.Faults, want) {
		t.Errorf("Configure = %v, want %v", err, want)
	}
	r, err := c.Exec(ctx, Exec{Command: `echo "$A $TOKEN"`})
	if err != nil || string(r.Stdout) != "1 a\nb\n" {
		t.Errorf("Exec = %q, %v", r.Stdout, err)
	}
	if err := c.SetSecret(ctx, Secret{Name: "OTHER", Env: true}); err != nil {
		t.Error(err)
	}
	if err := c.RemoveSecret(ctx, "TOKEN"); err != nil {
		t.Error(err)
	}
	secrets, err := c.Secrets(ctx)
	if err != nil || len(secrets) != 1 || secrets[0].Name != "OTHER" || !secrets[0].Env {
		t.Errorf("Secrets = %v, %v, want OTHER alone", secrets, err)
	}
	for _, err := range []error{
		c.Configure(ctx, strings.Repeat("x", maxConfigure)), c.SetSecret(ctx, Secret{Name: "A\x00"}),
		c.RemoveSecret(ctx, strings.Repeat("x", 256)),
	} {
		if _, ok := errors.AsType[*RequestError](err); !ok {
			t.Errorf("got %v, want a RequestError", err)
		}
	}
}

// TestSecretMemory searches the agent's memory for a secret that commands have used, and that was
// removed. A signal in the middle of copying it would leave a part of it on the signal's stack. The
// end of one more command overwrites that.
func TestSecretMemory(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ctx := testContext(t)
	r, err := c.Exec(ctx, Exec{Command: "echo $PPID"})
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(r.Stdout))
	needle := fmt.Sprintf("secret-%d-%p", os.Getpid(), t)
	for name, size := range map[string]int{"SHORT": 0, "LONG": 5000, "HUGE": 100000} {
		value := strings.Repeat("x", size) + needle
		if err := c.SetSecret(ctx, Secret{Name: name, Value: []byte(value), Env: true}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if r, err := c.Exec(ctx, Exec{Command: "printf %s ${#" + name + "}"}); err != nil || string(r.Stdout) != fmt.Sprint(len(value)) {
				t.Fatalf("%s: Exec = %q, %v, want %d", name, r.Stdout, err, len(value))
			}
		}
		if countInMemory(t, pid, needle) == 0 {
			t.Errorf("%s is not in the agent's memory while it is set", name)
		}
		if err := c.RemoveSecret(ctx, name); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(ctx, Exec{Command: "true"}); err != nil {
			t.Fatal(err)
		}
		if n := countInMemory(t, pid, needle); n != 0 {
			t.Errorf("%s is in the agent's memory %d times after it was removed", name, n)
		}
	}
}

// countInMemory counts a text in the writable memory of a process.
func countInMemory(t *testing.T, pid, text string) (n int) {
	t.Helper()
	maps, err := os.Open("/proc/" + pid + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open("/proc/" + pid + "/mem")
	if errors.Is(err, os.ErrPermission) {
		t.Skip("run the test as a user that may read the memory of its own processes")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mode, "rw") || to-from > 64<<20 {
			continue
		}
		b := make([]byte, to-from)
		got, _ := memory.ReadAt(b, int64(from)) // what is not there reads as an error
		n += bytes.Count(b[:got], []byte(text))
	}
	return n
}
