package main

import (
	"context"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// shutdownCommand returns wick shutdown.
func (t *tool) shutdownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shutdown",
		Short: "Sync the guest's file systems, so that the host can end the machine",
		Long: `Make the guest write everything to its disks, and return when it has. The host can then
end the machine without loss. The machine and its commands run until then.`,
		Example:           `  wick shutdown && kill "$FIRECRACKER_PID"`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.Shutdown(ctx)
		}),
	}
}
