package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/framing/client"
)

// connect connects to the guest that --to names.
func (t *tool) connect(ctx context.Context) (*client.Client, error) {
	if t.to == "" {
		return nil, exit.Usage(errors.New("no guest named; give the name of a machine first, as wick list has it, or an address as --to or in WICK_TO"))
	}
	if t.connectTimeout < 0 {
		return nil, exit.Usage(errors.New("--connect-timeout cannot be negative"))
	}
	if t.connectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.connectTimeout)
		defer cancel()
	}
	to, err := t.address()
	if err != nil {
		return nil, &exit.Error{Code: exit.Own, Err: err}
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
	return nil, &exit.Error{Code: exit.Own, Err: err}
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

// cutMachine cuts the name of a machine from the front of the arguments, unless another guest is
// named. After -- there is no name.
func (t *tool) cutMachine(cmd *cobra.Command, args []string) (name string, rest []string) {
	if t.to != "" || len(args) == 0 || cmd.ArgsLenAtDash() == 0 || !isMachineName(args[0]) {
		return "", args
	}
	name, rest = args[0], args[1:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:] // wick exec web -- ls
	}
	return name, rest
}

// takeMachine is cutMachine, and makes the machine the guest of the command.
func (t *tool) takeMachine(cmd *cobra.Command, args []string) []string {
	name, rest := t.cutMachine(cmd, args)
	if name != "" {
		t.to = machineForm + name
	}
	return rest
}

// machineFirst lets a command and its subcommands take the name of a machine as their first
// argument.
func (t *tool) machineFirst(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		t.machineFirst(sub)
	}
	if cmd.RunE == nil {
		return
	}
	cmd.Use = strings.Replace(cmd.Use, cmd.Name(), cmd.Name()+" [MACHINE]", 1)
	args, run, complete := cmd.Args, cmd.RunE, cmd.ValidArgsFunction
	if args != nil {
		cmd.Args = func(cmd *cobra.Command, words []string) error {
			_, rest := t.cutMachine(cmd, words)
			return args(cmd, rest)
		}
	}
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		return run(cmd, t.takeMachine(cmd, words))
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, words []string, word string) ([]string, cobra.ShellCompDirective) {
		if t.to == "" && len(words) == 0 && (word == "" || isMachineName(word)) {
			return completeMachines(cmd, words, word)
		}
		words = t.takeMachine(cmd, words)
		if complete == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return complete(cmd, words, word)
	}
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
