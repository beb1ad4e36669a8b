package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"wick/framing"
	"wick/framing/client"
)

// attachCommand returns wick attach.
func (t *tool) attachCommand() *cobra.Command {
	var noStdin, kill bool
	cmd := &cobra.Command{
		Use:   "attach [flags] MACHINE | [MACHINE] ID",
		Short: "Take part in the command of a machine, or one that is kept in the guest",
		Long: `Take part in the command of a machine of wick run -d. Its output from now on is shown, and
what is typed goes to it. Several may be attached, and wick logs has all output. A wick that
takes no output for a second loses some, and says how much.

With ID, or with --to, it is a command in that guest, which was started with --keep or
--detach. If another connection has it, that one loses it. Output continues after the last
byte that is known to have arrived; the guest keeps up to 64 KiB of it. The exit code is the
command's, even if it has ended meanwhile.

Leaving leaves the command running: by Ctrl-P Ctrl-Q, Ctrl-C, another signal, a closed pipe
or a closed terminal. On a terminal of the guest Ctrl-C is a key like any other. With
--kill, signals are passed on to the command, as by wick exec.

ID is the one that wick exec --detach printed and wick ps shows, an unambiguous beginning
of it, or the name of a service, which wick services lists. wick logs shows the output and
takes the command from no other wick.`,
		Example: `  wick attach web
  id=$(wick exec -d web make -C /src)
  wick attach web "$id"`,
		Args:              t.needsID,
		ValidArgsFunction: t.completeCommands,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := attachOptions{stdin: !noStdin, kill: kill}
		args = t.takeMachineOfID(cmd, args)
		if t.to == "" {
			return t.attachMachine(cmd.Context(), args[0], o)
		}
		return t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := findProcess(ctx, c, args[0])
			if err != nil {
				return err
			}
			return t.attach(ctx, c, p, o)
		})(cmd, args)
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "leave the command's stdin alone: only look")
	cmd.Flags().BoolVar(&kill, "kill", false, "pass signals on, and kill the command if it outlives them by 5 s")
	return cmd
}

// needsID requires MACHINE, ID or both.
func (t *tool) needsID(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && t.to == "" {
		return nil
	}
	return needs("MACHINE or ID")(cmd, args)
}

// takeMachineOfID takes the name of a machine from the front of the arguments if an ID follows.
func (t *tool) takeMachineOfID(cmd *cobra.Command, args []string) []string {
	if len(args) == 2 {
		return t.takeMachine(cmd, args)
	}
	return args
}

// attachOptions say how wick takes part in a command.
type attachOptions struct {
	stdin bool // what is typed goes to it
	kill  bool // it gets wick's signals, and ends with wick
}

// attach takes part in p until its end.
func (t *tool) attach(ctx context.Context, c *client.Client, p *client.Process, o attachOptions) error {
	s := &session{
		t: t, stdin: o.stdin, tty: p.Terminal, kept: true, looking: !o.kill,
		left: make(chan struct{}), closed: make(chan struct{}),
	}
	s.start = func(ctx context.Context) error {
		if s.looking {
			ctx = context.WithoutCancel(ctx) // whose end would kill the command
		}
		cmd, err := c.Attach(ctx, p.ID, client.AttachOptions{Prepare: func(cmd *client.Cmd) {
			s.cmd = cmd
			s.connect()
		}})
		if err == nil {
			s.cmd = cmd
		}
		return err
	}
	return s.run(ctx)
}

// findProcess finds a kept process in the guest by the beginning of its id.
func findProcess(ctx context.Context, c *client.Client, id string) (*client.Process, error) {
	list, err := c.Processes(ctx)
	if err != nil {
		return nil, err
	}
	return findIn(list, id)
}

// findIn finds a kept process in list by the beginning of its id, or by the name of its service.
func findIn(list []client.Process, id string) (*client.Process, error) {
	var found *client.Process
	for i, p := range list {
		if framing.ServiceID(id) == p.ID {
			return &list[i], nil
		}
	}
	for i, p := range list {
		if p.Kind != framing.KindStart || id == "" {
			continue
		}
		full := fmt.Sprintf("%016x", p.ID)
		if len(id) > len(full) || full[:len(id)] != id {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one command has an id that begins with %s", id)
		}
		found = &list[i]
	}
	if found == nil {
		return nil, fmt.Errorf("no command with the id %s in the guest; wick ps lists them", id)
	}
	return found, nil
}
