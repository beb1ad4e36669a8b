package main_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

var rounds = flag.Int("rendezvous.rounds", 10, "rounds of TestHostUnlinksAndBinds")

// TestHostUnlinksAndBinds has hosts act as real ones do: unlink the path, bind it, listen. A host
// must never find the path in use, whether the agent or the host is there first, or the host comes
// back. This runs three hundred rounds:
//
//	go test ./cmd/vsock-agent -run HostUnlinksAndBinds -rendezvous.rounds 300
func TestHostUnlinksAndBinds(t *testing.T) {
	t.Parallel()
	binary, err := agentBinary()
	if errors.Is(err, errNoEmulator) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{"agent", "host"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			for round := range *rounds {
				if err := meet(t, binary, first == "agent", round); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
		})
	}
}

// meet has a host listen at an agent's path three times.
func meet(t *testing.T, binary string, agentFirst bool, round int) error {
	dir, err := os.MkdirTemp(scratch, "meet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	log := newOutput(t)
	defer log.file.Close()
	agent := exec.Command(binary, "--unix-socket", path)
	agent.Stderr = log.file
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := func() error { return agent.Start() }
	defer func() {
		if agent.Process != nil {
			agent.Process.Kill()
			agent.Wait()
		}
	}()
	if agentFirst {
		if err := start(); err != nil {
			return err
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if c, err := net.Dial("unix", path); err == nil {
				c.Close()
				break
			} else if time.Now().After(end) {
				return fmt.Errorf("the agent does not listen: %w", err)
			}
		}
	}
	for visit := range 3 {
		// Hosts unlink and then bind. The pause between the two differs from round to round.
		os.Remove(path)
		for began := time.Now(); time.Since(began) < time.Duration(round%20*10)*time.Microsecond; {
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return fmt.Errorf("visit %d: %w\n%s", visit, err, log)
		}
		l.SetUnlinkOnClose(false)
		if agent.Process == nil {
			if err := start(); err != nil {
				return err
			}
		}
		err = greet(l)
		l.Close()
		if err != nil {
			return fmt.Errorf("visit %d: %w\n%s", visit, err, log)
		}
	}
	return nil
}

// greet accepts the agent's connection, sends a ping and closes.
func greet(l *net.UnixListener) error {
	l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 7}); err != nil {
		return err
	}
	var replies [18]byte
	if _, err := io.ReadFull(c, replies[:]); err != nil {
		return err
	}
	if replies[4] != 0 || replies[13] != 2 || binary.BigEndian.Uint32(replies[14:]) != 7 {
		return fmt.Errorf("ready and pong were %x", replies)
	}
	return nil
}
