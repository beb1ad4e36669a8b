package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// poweroffCommand is "wick poweroff".
func (t *tool) poweroffCommand() *cobra.Command {
	return t.powerCommand("poweroff", "Power the machine off in order", `Have the guest end its processes, write its disks and power the machine off, and return when
that was done, right before the machine ends. What was not clean is an error.

A machine that has nothing to power it off, as Firecracker's on x86, is reset instead.
Firecracker ends with that.`, (*client.Client).PowerOff)
}

// rebootCommand is "wick reboot".
func (t *tool) rebootCommand() *cobra.Command {
	return t.powerCommand("reboot", "Reset the machine in order", `Have the guest end its processes, write its disks and reset the machine, and return when that
was done, right before the reset. What was not clean is an error. Firecracker ends with it.`, (*client.Client).Reboot)
}

// powerCommand is one of them.
func (t *tool) powerCommand(name, short, long string, do func(*client.Client, context.Context, time.Duration) error) *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{
		Use:               name + " [--grace TIME]",
		Short:             short,
		Long:              long,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return do(c, ctx, grace)
		}),
	}
	cmd.Flags().DurationVar(&grace, "grace", 0, "how long processes may take to end before they are killed (default 5s)")
	return cmd
}
