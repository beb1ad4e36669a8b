package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// portsCommand returns "wick ports".
func (t *tool) portsCommand() *cobra.Command {
	var watch bool
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "ports",
		Short: "List the TCP ports that listen in the guest",
		Long: `List the TCP ports that listen in the guest's network. PID and PROGRAM are of a process that
has the port open, or dashes if the guest found no such process. --watch prints a line for each
port that appears (+) or is gone (-). The guest looks once a second.

The fields of --json are address, port, pid and program; with --watch also event, which is
open or closed.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			if watch {
				return t.watchPorts(ctx, c, &f)
			}
			list, err := c.Ports(ctx)
			if err != nil {
				return err
			}
			lines := make([]portEntry, len(list))
			for i := range list {
				lines[i] = newPortEntry("", &list[i])
			}
			return output.List(t.stdout, &f, lines, nil, func(w io.Writer) {
				fmt.Fprintln(w, "ADDRESS\tPID\tPROGRAM")
				for _, p := range list {
					portLine(w, "", &p)
				}
			})
		}),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print a line for each port that appears or is gone")
	return cmd
}

// portLine writes a line about a port.
func portLine(w io.Writer, sign string, p *client.Port) error {
	program := "-"
	if p.Program != "" {
		program = output.Printable(p.Program)
	}
	_, err := fmt.Fprintf(w, "%s%v\t%s\t%s\n", sign, p.Addr, output.Known(uint64(p.PID), fmt.Sprint(p.PID)), program)
	return err
}

func (t *tool) watchPorts(ctx context.Context, c *client.Client, f *output.Flags) error {
	show := func(sign, event string, p *client.Port) error {
		if f.JSON || f.Format != "" {
			return output.List(t.stdout, f, []portEntry{newPortEntry(event, p)}, nil, nil)
		}
		return portLine(t.stdout, sign, p)
	}
	before := map[client.Port]bool{}
	for list, err := range c.WatchPorts(ctx) {
		if err != nil {
			return err
		}
		now := map[client.Port]bool{}
		for _, p := range list {
			now[p] = true
			if !before[p] {
				if err := show("+ ", "open", &p); err != nil {
					return err
				}
			}
		}
		for p := range before {
			if !now[p] {
				if err := show("- ", "closed", &p); err != nil {
					return err
				}
			}
		}
		before = now
	}
	return nil
}
