package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"wick/framing/client"
)

// Dial waits until the guest is up, for limit at most. The error is a [*BootError] or ctx's.
func (m *Machine) Dial(ctx context.Context, limit time.Duration) (*client.Client, error) {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// A machine that has ended will not connect. Its last words may still be unread.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-m.done:
			select {
			case <-time.After(unreadGrace):
				cancel()
			case <-stop:
			}
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

// unreadGrace is how long Dial reads on after the machine's end.
const unreadGrace = 300 * time.Millisecond

// settle waits for the rest of the console output. A guest that reports why it did not boot then
// goes down.
func (m *Machine) settle() {
	select {
	case <-m.done:
	case <-time.After(2 * time.Second):
	}
}

// bootErrorLines limits the console lines of a BootError.
const bootErrorLines = 20

// lastWords returns the end of the console without the processor state that a kernel appends to a
// panic. If the Go runtime ended init, it returns the reason without a stack.
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

// DownError reports a machine that was killed because it did not go down in time.
type DownError struct{ Err error }

func (e *DownError) Error() string {
	return "power the machine off: " + e.Err.Error() + "; killed it"
}
func (e *DownError) Unwrap() error { return e.Err }

// PowerOff shuts the guest down in order. It kills the machine if that is impossible or takes until
// ctx ends. A guest that went down and reports an unclean disk is an error too, which wraps its
// [*client.OpError]. One that was going down already does not report that.
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
	case ends && unclean.Errno != syscall.EBUSY:
		return fmt.Errorf("power the machine off: %w", unclean)
	}
	return nil
}

// askDown asks the guest to go down. An agent without a message for that is asked through a
// command. If neither works, or the connection is gone, it presses Ctrl-Alt-Del.
func (m *Machine) askDown(ctx context.Context, c *client.Client) error {
	err := c.Err()
	if err == nil {
		if err = c.Reboot(ctx, 0); errors.Is(err, errors.ErrUnsupported) {
			err = signalInit(ctx, c)
		}
		if _, gone := errors.AsType[*client.ConnError](err); gone {
			return nil // the connection ended with the machine
		}
	}
	_, answered := errors.AsType[*client.OpError](err)
	if err != nil && !answered && m.CtrlAltDel(ctx) == nil {
		return nil
	}
	return err
}

// signalInit sends init a SIGTERM. The shutdown soon kills the command that sends it. So it may end
// well, by a signal, or with the connection.
func signalInit(ctx context.Context, c *client.Client) error {
	result, err := c.Exec(ctx, client.Exec{Command: "kill -TERM 1"})
	if err == nil && result.ExitCode != 0 && result.ExitCode < 128 {
		err = fmt.Errorf("kill -TERM 1 in the guest: exit code %d: %s", result.ExitCode,
			bytes.TrimSpace(result.Stderr))
	}
	return err
}
