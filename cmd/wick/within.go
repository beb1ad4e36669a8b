package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/framing/client"
)

const (
	// timeoutGrace is the time between a command's timeout and the first ping. The guest keeps the
	// timeout, and may have been stopped meanwhile.
	timeoutGrace = time.Second
	// aliveLimit limits the wait for an answer to the ping.
	aliveLimit = 2 * time.Second
	// alivePause is the time between pings while the connection is being made again.
	alivePause = 50 * time.Millisecond
)

// within calls do, which runs a command with a timeout that the guest keeps; 0 is no limit. If the
// guest does not answer after the timeout, within ends the context of do and returns an error of
// exit code 124.
//
// A guest that answers has killed the command, and do may still be reading its output.
func (t *tool) within(
	ctx context.Context, c *client.Client, timeout time.Duration, do func(context.Context) error,
) error {
	t.guest.Store(c)
	if timeout <= 0 {
		return do(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go t.watchGuest(ctx, timeout, cancel)
	err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errUnresponsive) {
		err = fmt.Errorf("the command ran out of time (%v): %w", timeout, errUnresponsive)
		return &exit.Error{Code: exit.TimedOut, Err: err}
	}
	return err
}

// watchGuest calls cancel if the guest does not answer after the timeout.
func (t *tool) watchGuest(ctx context.Context, timeout time.Duration, cancel context.CancelCauseFunc) {
	for pause := timeout + timeoutGrace; sleep(ctx, pause); pause = aliveLimit {
		limit, stop := context.WithTimeout(ctx, aliveLimit)
		alive := t.answers(limit)
		stop()
		if !alive {
			cancel(errUnresponsive)
			return
		}
	}
}

// answers reports whether the guest answers a ping before ctx ends. It uses the newest connection.
func (t *tool) answers(ctx context.Context) bool {
	for {
		if _, err := t.guest.Load().Ping(ctx); err == nil {
			return true
		}
		if !sleep(ctx, alivePause) {
			return false
		}
	}
}

// sleep waits for d. It reports false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
