package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wick/cmd/wick/internal/machine"
	"wick/framing/client"
)

const (
	// timeoutGrace is how long after a command's timeout its end is waited for before the guest is asked
	// whether it is still there. The timeout counts in the guest, which may have been stopped.
	timeoutGrace = time.Second
	// aliveLimit is how long the guest may take to answer that.
	aliveLimit = 2 * time.Second
	// alivePause is how long a lost connection may take to be made again, before the next look.
	alivePause = 50 * time.Millisecond
)

// within runs a command that the guest is to kill after a timeout, if that is not 0. A guest that can
// keep no timeout, because it does not answer, is given up then: the context ends, and the error is
// one of exit code 124.
//
// A guest that answers is left to it: it has killed the command, whose output this side may be slow
// to take.
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
	if err != nil && errors.Is(context.Cause(ctx), machine.ErrUnresponsive) {
		err = fmt.Errorf("the command ran out of time (%v): %w", timeout, machine.ErrUnresponsive)
		return &exitError{code: exitTimedOut, err: err}
	}
	return err
}

// watchGuest ends the context once the timeout is over and the guest does not answer.
func (t *tool) watchGuest(ctx context.Context, timeout time.Duration, cancel context.CancelCauseFunc) {
	for pause := timeout + timeoutGrace; sleep(ctx, pause); pause = aliveLimit {
		limit, stop := context.WithTimeout(ctx, aliveLimit)
		alive := t.answers(limit)
		stop()
		if !alive {
			cancel(machine.ErrUnresponsive)
			return
		}
	}
}

// answers reports whether the guest answers before ctx ends, on the connection there is by then.
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

// sleep waits, and reports false if ctx ends first.
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
