package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// connect connects to the guest that --to names.
func (t *tool) connect(ctx context.Context) (*client.Client, error) {
	if t.to == "" {
		return nil, usageError(errors.New("no guest named; give --to ADDRESS, or set WICK_TO"))
	}
	if t.connectTimeout < 0 {
		return nil, usageError(errors.New("--connect-timeout cannot be negative"))
	}
	if t.connectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.connectTimeout)
		defer cancel()
	}
	c, err := client.Dial(ctx, t.to)
	if err == nil {
		return c, nil
	}
	if _, ok := errors.AsType[*client.AddrError](err); ok {
		return nil, err
	}
	if dial, ok := errors.AsType[*client.DialError](err); ok && errors.Is(dial.Err, context.DeadlineExceeded) {
		err = fmt.Errorf("no guest at %s within %v", t.to, t.connectTimeout)
		if dial.Last != nil {
			err = fmt.Errorf("%w: %w", err, dial.Last)
		}
	}
	return nil, &exitError{code: exitOwn, err: err}
}

// inGuest returns the RunE of a command that works over one connection to the guest.
func (t *tool) inGuest(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := t.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd.Context(), c, args)
	}
}
