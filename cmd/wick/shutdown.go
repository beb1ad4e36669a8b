package main

import (
	"github.com/spf13/cobra"
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Shutdown(cmd.Context())
		},
	}
}
