package client

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// agentBinary builds the real agent, once. WICK_AGENT names another one to be talked to instead.
var agentBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WICK_AGENT"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "agent-")
	if err != nil {
		return "", err
	}
	agentDir = dir
	path := filepath.Join(dir, "vsock-agent")
	if out, err := exec.Command("../../scripts/build", "-o", path, runtime.GOARCH, "wick/cmd/vsock-agent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/build: %v\n%s", err, out)
	}
	return path, nil
})

// agentDir is where it was built, and removed by removeAgent when all tests have run.
var agentDir string

func removeAgent() {
	if stopExampleAgent != nil {
		stopExampleAgent()
	}
	if agentDir != "" {
		os.RemoveAll(agentDir)
	}
}

// DialTestAgent is a connection to the real agent, for examples. The first starts it.
func DialTestAgent(ctx context.Context) (*Client, error) {
	addr, err := exampleAgent()
	if err != nil {
		return nil, err
	}
	return Dial(ctx, addr)
}

var exampleAgent = sync.OnceValues(func() (addr string, err error) {
	binary, err := agentBinary()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "s")
	cmd := exec.Command(binary, "--unix-socket", path)
	stopExampleAgent = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
	}
	return "unix:" + path, cmd.Start()
})

var stopExampleAgent func()

// An agentProcess is the real agent, as a process of this machine.
type agentProcess struct {
	t    testing.TB
	addr string
}

// startAgent starts the real agent on a socket of its own. It ends with the test.
func startAgent(t testing.TB, options ...string) *agentProcess {
	t.Helper()
	binary, err := agentBinary()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(binary, append([]string{"--unix-socket", path}, options...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("agent: %v", err)
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", log.Bytes())
		}
	})
	return &agentProcess{t, "unix:" + path}
}

// dial makes a connection to it.
func (a *agentProcess) dial(opts ...Option) *Client {
	a.t.Helper()
	return (<-dialing(a.t, a.addr, opts...)).must(a.t)
}

// agentClient is a client of a real agent.
func agentClient(t testing.TB) *Client {
	t.Helper()
	return startAgent(t).dial()
}
