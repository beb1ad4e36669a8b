package clienttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Agent is the real agent, as a process of this machine.
type Agent struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	end  chan struct{} // closed when the agent has ended
	err  error
	stop sync.Once
}

// agentDir is the directory in which the agent was built, or "".
var agentDir string

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
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "wick/cmd/vsock-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return path, nil
})

// AgentBinary returns the path of the agent that [StartAgent] starts, for tests that start it
// otherwise.
func AgentBinary() (string, error) { return agentBinary() }

// RemoveAgent removes what [StartAgent] built. A TestMain calls it after all tests have run.
func RemoveAgent() {
	if agentDir != "" {
		os.RemoveAll(agentDir)
	}
}

// StartAgent starts the agent with these options and returns when it listens at the Unix socket at
// path. The agent's working directory is that of the socket. The first call in a process builds it
// with the go command, unless $WICK_AGENT names one. [Agent.Stop] ends it.
func StartAgent(path string, options ...string) (*Agent, error) {
	return startAgent(filepath.Dir(path), path, options...)
}

func startAgent(dir, path string, options ...string) (*Agent, error) {
	binary, err := agentBinary()
	if err != nil {
		return nil, err
	}
	a := &Agent{cmd: exec.Command(binary, append([]string{"--unix-socket", path}, options...)...), end: make(chan struct{})}
	a.cmd.Dir, a.cmd.Stdout, a.cmd.Stderr = dir, &a.log, &a.log
	a.cmd.SysProcAttr = ownGroup()
	// processes that it leaves may hold its stderr
	a.cmd.WaitDelay = 5 * time.Second
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.end)
	}()
	for {
		if _, err := os.Lstat(path); err == nil {
			return a, nil
		}
		select {
		case <-a.end:
			return nil, fmt.Errorf("agent: %v\n%s", a.err, a.log.Bytes())
		case <-time.After(time.Millisecond):
		}
	}
}

// Signal sends the agent a signal.
func (a *Agent) Signal(sig syscall.Signal) { a.cmd.Process.Signal(sig) }

// Stop ends the agent with SIGTERM, and after 20 s with SIGKILL. It returns the agent's log, and an
// error if the exit code is not 0. Further calls wait and return the same.
func (a *Agent) Stop() (log string, err error) {
	a.stop.Do(func() { a.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-a.end:
	case <-time.After(20 * time.Second):
		a.cmd.Process.Kill()
		<-a.end
	}
	if a.err != nil {
		return a.log.String(), fmt.Errorf("agent: %w", a.err)
	}
	return a.log.String(), nil
}
