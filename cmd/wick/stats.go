package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// statsCommand returns wick stats.
func (t *tool) statsCommand() *cobra.Command {
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "stats [--watch] [NAME]...",
		Short: "Show the machine's figures",
		Long: `Show the figures of the machine and of its agent. With NAME show only those. A NAME that
ends in a dot stands for all that begin with it, such as memory. for all of memory.

Memory and disk are in bytes, times in microseconds, load in thousandths. With --watch the
figures are shown repeatedly, with a blank line between.`,
		Example: `  wick stats memory. load.1
  wick stats --watch --interval 5s agent.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval <= 0 {
				return usageError(errors.New("stats: --interval must be above 0"))
			}
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			count := 1
			if watch {
				count = 0
			}
			return t.stats(cmd.Context(), c, args, interval, count)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them repeatedly")
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "time from one to the next")
	return cmd
}

func (t *tool) stats(ctx context.Context, c *client.Client, names []string, interval time.Duration, count int) error {
	first := true
	return repeat(ctx, interval, count, func() error {
		s, err := c.Stats(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
		if !first {
			fmt.Fprintln(w)
		}
		first = false
		shown := 0
		for name, value := range s.All() {
			if named(name, names) {
				fmt.Fprintf(w, "%s\t%d\n", printable(name), value)
				shown++
			}
		}
		if shown == 0 {
			return fmt.Errorf("the guest has no figures named %s", strings.Join(names, ", "))
		}
		return w.Flush()
	})
}

// named reports whether name is among names, or begins with one of them that ends in a dot. With no
// names every name is.
func named(name string, names []string) bool {
	for _, n := range names {
		if name == n || strings.HasSuffix(n, ".") && strings.HasPrefix(name, n) {
			return true
		}
	}
	return len(names) == 0
}
