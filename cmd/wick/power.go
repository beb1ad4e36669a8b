package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// poweroffCommand returns wick poweroff.
func (t *tool) poweroffCommand() *cobra.Command {
	return t.powerCommand("poweroff", "Power the machine off in order", `Make the guest end its processes, sync its disks and power the machine off. wick returns
right before the machine ends. It reports an error if the end was not clean.

A machine without a power-off, such as Firecracker's on x86, is reset instead, which ends
Firecracker.`, (*client.Client).PowerOff)
}

// rebootCommand returns wick reboot.
func (t *tool) rebootCommand() *cobra.Command {
	return t.powerCommand("reboot", "Reset the machine in order", `Make the guest end its processes, sync its disks and reset the machine. wick returns right
before the reset. It reports an error if the end was not clean. The reset ends Firecracker.`, (*client.Client).Reboot)
}

// powerCommand returns a command that ends the machine by do.
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
	cmd.Flags().Var(units.Time(&grace, 0), "grace", "time for processes to end before they are killed (default 5s)")
	return cmd
}
