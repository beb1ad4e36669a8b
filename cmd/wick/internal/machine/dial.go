package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wick/framing/client"
)

// Dial waits until the guest is up, at most for limit. The error is a [*BootError], or ctx's.
func (m *Machine) Dial(ctx context.Context, limit time.Duration) (*client.Client, error) {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// A machine that has ended will say nothing more.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-m.done:
			cancel()
		case <-stop:
		}
	}()
	c, err := client.Dial(wait, m.Addr())
	if err == nil {
		return c, nil
	}
	said, ok := errors.AsType[*client.BootError](err)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case ok:
		err = said
		m.settle()
	case m.ended():
		err = errors.New(m.exit.String())
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the guest did not say ready within %v", limit)
	}
	return nil, &BootError{err, m.ConsoleTail(bootErrorLines)}
}

// settle waits for what the guest has still to say on the console: it said why it did not boot, and then goes down.
func (m *Machine) settle() {
	select {
	case <-m.done:
	case <-time.After(2 * time.Second):
	}
}

func (m *Machine) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// A DownError is a machine that had to be killed because it did not go down within the time it was given.
type DownError struct{ Err error }

func (e *DownError) Error() string { return "power the machine off: " + e.Err.Error() + "; killed it" }
func (e *DownError) Unwrap() error { return e.Err }

// PowerOff has the guest go down in order and kills it if it has not when ctx ends. It is asked by a SIGTERM to init: the protocol
// has no message for it. That command is among the first to be killed on the way down, so what becomes of it means nothing.
func (m *Machine) PowerOff(ctx context.Context, c *client.Client) error {
	_, asked := c.Exec(ctx, client.Exec{Command: "kill -TERM 1"})
	if gone, ok := errors.AsType[*client.ConnError](asked); ok && !m.ended() {
		// A connection that was lost before asks nobody. The keys do, where there are some.
		if m.CtrlAltDel(ctx) == nil {
			asked = nil
		} else {
			asked = gone
		}
	}
	exit, err := m.Wait(ctx)
	if err == nil {
		if exit.Panic != "" {
			return fmt.Errorf("power the machine off: %v", exit)
		}
		return nil
	}
	m.Kill()
	if asked != nil {
		err = asked
	}
	return &DownError{err}
}
