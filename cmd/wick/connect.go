package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// connect connects to the guest that --to names.
func (t *tool) connect(ctx context.Context) (*client.Client, error) {
	if t.to == "" {
		return nil, usageError(errors.New("no guest named; give --to machine:NAME or another address, or set WICK_TO"))
	}
	if t.connectTimeout < 0 {
		return nil, usageError(errors.New("--connect-timeout cannot be negative"))
	}
	if t.connectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.connectTimeout)
		defer cancel()
	}
	to, err := t.address()
	if err != nil {
		return nil, &exitError{code: exitOwn, err: err}
	}
	c, err := client.Dial(ctx, to)
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

// machineForm precedes the name of a machine in an address.
const machineForm = "machine:"

// address returns the address of the guest that --to names, in a form of the client's.
func (t *tool) address() (string, error) {
	if name, ok := strings.CutPrefix(t.to, machineForm); ok {
		return machineAddress(name)
	}
	return t.to, nil
}

// takeMachine takes the name of a machine from the front of the arguments, unless another guest is
// named. After -- there is no name.
func (t *tool) takeMachine(cmd *cobra.Command, args []string) []string {
	if t.to == "" && len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		t.to = machineForm + args[0]
		args = args[1:]
		if len(args) > 0 && args[0] == "--" {
			args = args[1:] // wick exec web -- ls
		}
	}
	return args
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
