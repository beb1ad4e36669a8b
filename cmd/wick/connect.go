package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/keeper"
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
	name, ok := strings.CutPrefix(t.to, machineForm)
	if !ok {
		return t.to, nil
	}
	state, err := machineState(name)
	switch {
	case err != nil:
		return "", err
	case state.Status == keeper.Paused:
		return "", fmt.Errorf("machine %s is paused; wick unpause %[1]s lets it go on", state.Name)
	case !state.Status.Live():
		return "", fmt.Errorf("machine %s is %s; wick start %[1]s starts it again", state.Name, state.Status)
	case state.Address == "":
		return "", fmt.Errorf("machine %s is still starting", state.Name)
	}
	return state.Address, nil
}

// machineState returns the state of a machine that stays.
func machineState(name string) (*keeper.State, error) {
	s, err := keeper.Default()
	if err != nil {
		return nil, err
	}
	m, err := s.Find(name)
	if err != nil {
		return nil, err
	}
	return m.State()
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
