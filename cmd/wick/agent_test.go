package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildAgent builds the real agent. WICK_AGENT names another one to be talked to instead.
func buildAgent(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("WICK_AGENT"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "vsock-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "wick/cmd/vsock-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// startAgent starts the agent at a socket, and returns when that is there.
func startAgent(binary, socket string) (stop func(), err error) {
	cmd := exec.Command(binary, "--unix-socket", socket, "--log-level", "error")
	cmd.Stderr = os.Stderr
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
