package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
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
			show := statsTable
			if asJSON {
				show = statsJSON
			}
			if asPrometheus {
				show = prometheus
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

// statsTable prints a line for each figure.
func statsTable(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for name, value := range figures {
		if named(name, names) {
			fmt.Fprintf(w, "%s\t%d\n", output.Printable(name), value)
			shown++
		}
	}
	return shown, w.Flush()
}

// statsJSON prints an object on a line.
func statsJSON(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error) {
	object := map[string]uint64{}
	for name, value := range figures {
		if named(name, names) {
			object[name] = value
		}
	}
	return len(object), output.JSON(to, object)
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
