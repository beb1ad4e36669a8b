package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// freezeCommand returns wick freeze.
func (t *tool) freezeCommand() *cobra.Command {
	var after time.Duration
	var commands, trim bool
	cmd := &cobra.Command{
		Use:   "freeze [--commands] [--thaw-after TIME] [--trim]",
		Short: "Freeze the guest's file system for a snapshot of its disk",
		Long: `Write everything to the guest's disk, freeze its writable file system, and return. A write
then waits, or fails with "device or resource busy".

wick thaw thaws it. Otherwise it thaws by itself after the time, 1 ms to 1 min, even if the
host is gone. A machine restored from a snapshot taken meanwhile is frozen too; wick
restore thaws it.

With --commands the processes of all commands and of the workload stop first, kept or not,
until the thaw. They take part in the snapshot as they are. A guest without a disk to
freeze stops them alone. Processes that a command has moved into a cgroup elsewhere do not
stop.`,
		Example: `  wick freeze && cp disk.img snapshot.img; wick thaw
  wick freeze --commands --thaw-after 1m`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			if trim {
				if _, err := c.Trim(ctx, ""); err != nil {
					return err
				}
			}
			if commands {
				return c.FreezeCommands(ctx, after)
			}
			return c.Freeze(ctx, after)
		}),
	}
	cmd.Flags().BoolVar(&trim, "trim", false, "first give unused blocks back to the host, for a smaller snapshot")
	cmd.Flags().BoolVar(&commands, "commands", false, "freeze the commands and the workload too")
	cmd.Flags().Var(units.Time(&after, 10*time.Second), "thaw-after", "thaw after this time")
	return cmd
}

// thawCommand returns wick thaw.
func (t *tool) thawCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "thaw",
		Short: "Thaw the guest's file system after wick freeze",
		Long: `Thaw what wick freeze has frozen. It is an error if nothing is frozen: its time
has passed, and a snapshot that was taken may be inconsistent.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.Thaw(ctx)
		}),
	}
}
