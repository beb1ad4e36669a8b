//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/framing/client"
)

// endWithGrace asks the command to end when the machine is to stop, and kills it after the grace.
func (s *supervisor) endWithGrace(ctx context.Context, cmd *client.Cmd, ended <-chan struct{}) {
	select {
	case <-s.stopped:
	case <-ended:
		return
	}
	s.mu.Lock()
	sig, grace := s.signal, s.grace
	s.mu.Unlock()
	if grace > 0 {
		cmd.Signal(ctx, sig) // one that has ended is no error
		select {
		case <-time.After(grace):
		case <-ended:
			return
		}
	}
	cmd.Cancel(ctx)
}

// stop has the machine stop, with other values than the usual for the signal and the grace, if not
// 0 or negative.
func (s *supervisor) stop(sig syscall.Signal, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	s.stopping = true
	if sig != 0 {
		s.signal = sig
	}
	if grace >= 0 {
		s.grace = grace
	}
	s.state.Status = keeper.Stopping
	s.m.Save(s.state)
	close(s.stopped)
}

// errStarting is the error of a request that needs a machine that is up.
var errStarting = errors.New("the machine is not up yet")

// errNoCommand is the error of a request that needs a command.
var errNoCommand = errors.New("it has no command that runs")

// do does what a request asks for.
func (s *supervisor) do(ctx context.Context, r keeper.Request) error {
	s.mu.Lock()
	vm, command, paused := s.vm, s.command, s.state.Status == keeper.Paused
	s.mu.Unlock()
	switch r.Op {
	case keeper.OpWait:
		return s.awaitEnd(ctx)
	case keeper.OpStop:
		if paused {
			if err := vm.Unpause(ctx); err != nil {
				return err
			}
		}
		s.stop(syscall.Signal(r.Signal), r.Grace)
		return s.awaitEnd(ctx)
	case keeper.OpKill:
		if sig := syscall.Signal(r.Signal); sig != 0 && sig != unix.SIGKILL {
			if pass := s.r.t.running.Load(); pass != nil {
				return (*pass)(ctx, sig) // of a machine that does not stay
			}
			if command == nil {
				return errNoCommand
			}
			return command.Signal(ctx, sig)
		}
		s.mu.Lock()
		s.killed = true
		s.mu.Unlock()
		if vm != nil {
			vm.Kill()
		}
		s.stop(0, 0)
		return s.awaitEnd(ctx)
	case keeper.OpPause, keeper.OpUnpause:
		if vm == nil {
			return errStarting
		}
		return s.pause(ctx, vm, r.Op == keeper.OpPause)
	case keeper.OpSnapshot:
		if vm == nil {
			return errStarting
		}
		return s.snapshot(ctx, vm, r.Path)
	}
	return fmt.Errorf("unknown request %q", r.Op)
}

func (s *supervisor) pause(ctx context.Context, vm *machine.Machine, pause bool) error {
	s.mu.Lock()
	status := s.state.Status
	s.mu.Unlock()
	from, to, do := keeper.Running, keeper.Paused, vm.Pause
	if !pause {
		from, to, do = keeper.Paused, keeper.Running, vm.Unpause
	}
	if status != from {
		return fmt.Errorf("it is %s, not %s", status, from)
	}
	if err := do(ctx); err != nil {
		return err
	}
	s.update(func(st *keeper.State) { st.Status = to })
	return nil
}
