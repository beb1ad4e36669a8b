package main

import (
	"context"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// shutdownCommand is "wick shutdown".
func (t *tool) shutdownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shutdown",
		Short: "Have the guest sync its file systems, so that the machine can be ended",
		Long: `Have the guest write everything to its disks, and return when it has. The machine can
then be ended from the host without loss. It runs on until then, and so do its commands.`,
		Example:           `  wick shutdown && kill "$FIRECRACKER_PID"`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.Shutdown(ctx)
		}),
	}
}
