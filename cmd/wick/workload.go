package main

import (
	"context"
	"errors"
	"strconv"
	"syscall"

	"wick/framing"
	"wick/framing/client"
)

// workload takes over the program that the machine runs by itself.
func (t *tool) workload(ctx context.Context, c *client.Client, flags *sessionFlags, _ []string) error {
	return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
		hello, err := c.Hello(ctx)
		if err != nil {
			return err
		}
		if _, ok := hello.Fact("workload.state"); !ok {
			return commandFailed(errors.New("COMMAND is missing, and the machine has no workload"))
		}
		if hello.Features&framing.FeatureServices != 0 {
			if err := awaitStart(ctx, c); err != nil {
				return err
			}
		}
		err = t.attach(ctx, c, &client.Process{ID: framing.WorkloadID}, attachOptions{kill: true})
		if failed, ok := errors.AsType[*client.OpError](err); ok && failed.Errno == syscall.ESRCH {
			return t.notStarted(ctx, c, err)
		}
		return err
	})
}

// awaitStart waits until the workload does not wait for services that it is started after.
func awaitStart(ctx context.Context, c *client.Client) error {
	return awaitService(ctx, c, framing.WorkloadName, func(s *client.Service) (bool, error) {
		return s.State != "waiting", nil
	})
}

// notStarted returns the error of a workload that was not started.
func (t *tool) notStarted(ctx context.Context, c *client.Client, err error) error {
	hello, again := c.Hello(ctx)
	if again != nil {
		return again
	}
	reason, ok := hello.Fact("workload.error")
	if !ok {
		return commandFailed(err)
	}
	text, _ := hello.Fact("workload.code")
	code, _ := strconv.Atoi(text)
	return &exitError{code: failure(code), err: errors.New("workload not started: " + reason)}
}
