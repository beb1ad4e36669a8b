//go:build linux

package main

import (
	"context"
	"errors"
	"strconv"
	"syscall"

	"wick/cmd/wick/internal/exit"
	"wick/framing"
	"wick/framing/client"
)

// workload takes over the program that the machine runs by itself, until it is not started again.
func (t *tool) workload(ctx context.Context, c *client.Client, flags *sessionFlags, _ []string) error {
	return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
		hello, err := c.Hello(ctx)
		if err != nil {
			return err
		}
		if _, ok := hello.Fact("workload.state"); !ok {
			return exit.NotRun(errors.New("COMMAND is missing, and the machine has no workload"))
		}
		if hello.Features&framing.FeatureServices != 0 {
			if err := awaitStart(ctx, c, func() {}); err != nil {
				return err
			}
		}
		var last error
		for runs := 0; ; runs++ {
			err = t.attach(ctx, c, &client.Process{ID: framing.WorkloadID}, attachOptions{kill: true})
			op, ok := errors.AsType[*client.OpError](err)
			gone, failed := ok && op.Errno == syscall.ESRCH, notStarted(ctx, c)
			switch {
			case failed != nil && runs == 0:
				return failed
			case failed != nil:
				err = failed
			case gone && runs > 0:
				err = last // there was no run after that
			case gone:
				return exit.NotRun(err)
			}
			if t.asked.Load() || !startsAgain(ctx, c) {
				return err
			}
			last = err
		}
	})
}

// startsAgain waits until the workload is started again, and reports whether it is.
func startsAgain(ctx context.Context, c *client.Client) (again bool) {
	err := awaitService(ctx, c, framing.WorkloadName, func(s *client.Service) (bool, error) {
		again = s.State != "ended" && s.State != "failed"
		return s.State != "backing-off", nil
	})
	return again && err == nil
}

// awaitStart waits until the workload does not wait for anything that it is started after. It calls
// idle if that is a host, which has to configure the machine first.
func awaitStart(ctx context.Context, c *client.Client, idle func()) error {
	return awaitService(ctx, c, framing.WorkloadName, func(s *client.Service) (bool, error) {
		if s.Waits == "host" {
			idle()
		}
		return s.State != "waiting", nil
	})
}

// startsAgain is as the function, until the machine is to stop.
func (s *supervisor) startsAgain(ctx context.Context, c *client.Client) (again bool) {
	ctx, cancel := s.untilStopped(ctx)
	defer cancel()
	return startsAgain(ctx, c)
}

// untilStopped returns a context that ends when the machine is to stop, too.
func (s *supervisor) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// awaitReady waits until the workload is ready, or has ended, or is not started.
func awaitReady(ctx context.Context, c *client.Client) error {
	return awaitService(ctx, c, framing.WorkloadName, func(s *client.Service) (bool, error) {
		return s.State != "waiting" && s.State != "starting", nil
	})
}

// notStarted returns the error of a workload whose last start has failed, and otherwise nil.
func notStarted(ctx context.Context, c *client.Client) error {
	hello, err := c.Hello(ctx)
	if err != nil {
		return nil //nolint:nilerr // the next request fails too
	}
	reason, ok := hello.Fact("workload.error")
	if !ok {
		return nil
	}
	text, _ := hello.Fact("workload.code")
	code, _ := strconv.Atoi(text)
	return &exit.Error{Code: exit.Failure(code), Err: errors.New("workload not started: " + reason)}
}
