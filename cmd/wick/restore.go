package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// restoreEntropy is the entropy that a restored guest gets, in bytes. The state of the kernel's
// generator has this size.
const restoreEntropy = 64

// restoreCommand returns wick restore.
func (t *tool) restoreCommand() *cobra.Command {
	var keepClock bool
	cmd := &cobra.Command{
		Use:   "restore [--keep-clock]",
		Short: "Set the clock and the entropy of a guest that was restored from a snapshot",
		Long: `Tell a guest that its machine was restored from a snapshot. Its clock is set to the host's.
Its kernel gets fresh entropy, because otherwise all machines restored from one snapshot
have the same random numbers. Its file system is thawed if the snapshot was taken after
wick freeze. The guest's new epoch is printed.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			entropy := make([]byte, restoreEntropy)
			rand.Read(entropy)
			var now time.Time
			if !keepClock {
				now = time.Now()
			}
			epoch, err := c.Restore(ctx, now, entropy)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(t.stdout, "epoch %d\n", epoch)
			return err
		}),
	}
	cmd.Flags().BoolVar(&keepClock, "keep-clock", false, "leave the clock as it is")
	return cmd
}
