package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
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
	return nil, &BootError{err, m.lastWords()}
}

// settle waits for what the guest has still to say on the console: it said why it did not boot, and then goes down.
func (m *Machine) settle() {
	select {
	case <-m.done:
	case <-time.After(2 * time.Second):
	}
}

// bootErrorLines is how many lines of the console a BootError has.
const bootErrorLines = 20

// lastWords returns the end of the console, without the processor's state that a kernel appends to
// a panic. If the Go runtime ended init, it returns why, and no stack.
func (m *Machine) lastWords() []string {
	lines := m.ConsoleTail(0)
	for i, line := range lines {
		if strings.Contains(line, panicMark) {
			if died := fault(lines[:i]); died != nil {
				return append(died, line)
			}
			lines = lines[:i+1]
			break
		}
	}
	return lines[max(0, len(lines)-bootErrorLines):]
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

// PowerOff has the guest go down in order, and kills it if that cannot be or has not happened when ctx ends. A guest that went down and
// says that its disk is not clean is an error too, which wraps its [*client.OpError].
func (m *Machine) PowerOff(ctx context.Context, c *client.Client) error {
	asked := m.askDown(ctx, c)
	unclean, ends := errors.AsType[*client.OpError](asked)
	if asked != nil && !ends && !m.ended() {
		m.Kill()
		return &DownError{asked}
	}
	exit, err := m.Wait(ctx)
	switch {
	case err != nil:
		m.Kill()
		return &DownError{err}
	case exit.Panic != "" || exit.Err != nil:
		return fmt.Errorf("power the machine off: %v", exit)
	case ends:
		return fmt.Errorf("power the machine off: %w", unclean)
	}
	return nil
}

// askDown asks the guest for its end; an agent without a message for that is asked through a command. Where neither can be, or there is no
// connection any more, the keys may do.
func (m *Machine) askDown(ctx context.Context, c *client.Client) error {
	err := c.Err()
	if err == nil {
		if err = c.Reboot(ctx, 0); errors.Is(err, errors.ErrUnsupported) {
			err = signalInit(ctx, c)
		}
		if _, gone := errors.AsType[*client.ConnError](err); gone {
			return nil // with the machine
		}
	}
	if _, answered := errors.AsType[*client.OpError](err); err != nil && !answered && m.CtrlAltDel(ctx) == nil {
		return nil
	}
	return err
}

// signalInit sends init a SIGTERM. The command is among the first to be killed on the way down, so it may end well, or by a signal, or
// with the connection.
func signalInit(ctx context.Context, c *client.Client) error {
	result, err := c.Exec(ctx, client.Exec{Command: "kill -TERM 1"})
	if err == nil && result.ExitCode != 0 && result.ExitCode < 128 {
		err = fmt.Errorf("kill -TERM 1 in the guest: exit code %d: %s", result.ExitCode, bytes.TrimSpace(result.Stderr))
	}
	return err
}
