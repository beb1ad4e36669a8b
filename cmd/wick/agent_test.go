package main

import (
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

// agentDir is where it was built.
var agentDir string

// tests runs them, and takes away what they share.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	if agentDir != "" {
		os.RemoveAll(agentDir)
	}
	return code
}

// startAgent starts the agent at a socket, and returns when that is there.
func startAgent(socket string) (stop func(), err error) {
	binary, err := agentBinary()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "--unix-socket", socket, "--log-level", "error")
	cmd.Stderr, cmd.Dir = os.Stderr, filepath.Dir(socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	for {
		if _, err := os.Stat(socket); err == nil {
			return stop, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("agent: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}
