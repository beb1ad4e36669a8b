package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/figures"
	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// statsCommand returns wick stats.
func (t *tool) statsCommand() *cobra.Command {
	var watch, asJSON, asPrometheus bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "stats [--watch] [--json | --prometheus] [NAME]...",
		Short: "Show the machine's figures",
		Long: `Show the figures of the machine and of its agent. With NAME show only those. A NAME that
ends in a dot stands for all that begin with it, such as memory. for all of memory.

Memory and disk are in bytes, times in microseconds, load in thousandths. With --watch the
figures are shown repeatedly, with a blank line between.

--json prints an object. --prometheus prints the text format of Prometheus: names begin with
wick_, times are in seconds and shares from 0 to 1, and a device is a label. An exporter
calls wick for each scrape.`,
		Example: `  wick stats memory. load.1
  wick stats --watch --interval 5s agent.
  wick stats --prometheus net. block.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case interval <= 0:
				return exit.Usage(errors.New("stats: --interval must be above 0"))
			case asJSON && asPrometheus:
				return exit.Usage(errors.New("stats: give one of --json and --prometheus"))
			case watch && asPrometheus:
				return exit.Usage(errors.New("stats: --prometheus prints the figures once"))
			}
			show := figures.Table
			if asJSON {
				show = figures.JSON
			}
			if asPrometheus {
				show = figures.Prometheus
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
			return t.stats(cmd.Context(), c, show, args, interval, count)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them repeatedly")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as an object of JSON on a line")
	cmd.Flags().BoolVar(&asPrometheus, "prometheus", false, "print them in the text format of Prometheus")
	cmd.Flags().Var(units.Time(&interval, 2*time.Second), "interval", "time from one to the next")
	return cmd
}

// A statsFormat prints the figures of those names, and returns how many there are.
type statsFormat func(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error)

func (t *tool) stats(ctx context.Context, c *client.Client, show statsFormat, names []string, interval time.Duration, count int) error {
	var page bytes.Buffer
	first := true
	return repeat(ctx, interval, count, func() error {
		s, err := c.Stats(ctx)
		if err != nil {
			return err
		}
		if !first {
			page.WriteByte('\n')
		}
		first = false
		shown, err := show(&page, s.All(), names)
		if err != nil {
			return err
		}
		if shown == 0 {
			return fmt.Errorf("the guest has no figures named %s", strings.Join(names, ", "))
		}
		_, err = t.stdout.Write(page.Bytes())
		page.Reset()
		return err
	})
}
