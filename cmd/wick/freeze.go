package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// freezeCommand is "wick freeze".
func (t *tool) freezeCommand() *cobra.Command {
	var after time.Duration
	cmd := &cobra.Command{
		Use:   "freeze [--thaw-after TIME]",
		Short: "Hold the guest's file system still for a snapshot of its disk",
		Long: `Write everything to the guest's disk and hold its writable file system still, and return
when it is. What would write waits, or fails with "device or resource busy".

It thaws by wick thaw, or by itself after the time, 1 ms to 1 min, whatever becomes of the host.
A machine that is restored from a snapshot made meanwhile is frozen too: wick restore thaws it.`,
		Example:           `  wick freeze && cp disk.img snapshot.img; wick thaw`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.Freeze(ctx, after)
		}),
	}
	cmd.Flags().DurationVar(&after, "thaw-after", 10*time.Second, "when it thaws by itself")
	return cmd
}

// thawCommand is "wick thaw".
func (t *tool) thawCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "thaw",
		Short: "Let the guest's file system go on after wick freeze",
		Long: `Let the guest's file system go on after wick freeze. That it is not frozen is an error: its time had
passed, so a snapshot that was taken may not be whole.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.Thaw(ctx)
		}),
	}
}
