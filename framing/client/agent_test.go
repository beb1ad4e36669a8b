package client

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"wick/framing/client/clienttest"
)

// removeAgent stops the examples' agent and removes its binary after all tests.
func removeAgent() {
	if stopExampleAgent != nil {
		stopExampleAgent()
	}
	clienttest.RemoveAgent()
}

// DialTestAgent connects to the real agent, for examples. The first call starts it.
func DialTestAgent(ctx context.Context) (*Client, error) {
	addr, err := exampleAgent()
	if err != nil {
		return nil, err
	}
	return Dial(ctx, addr)
}

var exampleAgent = sync.OnceValues(func() (addr string, err error) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "s")
	agent, err := clienttest.StartAgent(path)
	stopExampleAgent = func() {
		if agent != nil {
			agent.Stop()
		}
		os.RemoveAll(dir)
	}
	return "unix:" + path, err
})

var stopExampleAgent func()

// An agentProcess is the real agent, as a process of this machine.
type agentProcess struct {
	t    testing.TB
	addr string
}

// startAgent starts the real agent on a socket of its own. It is stopped at the end of the test.
func startAgent(t testing.TB, options ...string) *agentProcess {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	agent, err := clienttest.StartAgent(path, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log, err := agent.Stop()
		if err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", log)
		}
	})
	return &agentProcess{t, "unix:" + path}
}

// dial connects to the agent.
func (a *agentProcess) dial(opts ...Option) *Client {
	a.t.Helper()
	return (<-dialing(a.t, a.addr, opts...)).must(a.t)
}

// agentClient returns a client of a real agent.
func agentClient(t testing.TB) *Client {
	t.Helper()
	return startAgent(t).dial()
}
