package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// topCommand returns wick top.
func (t *tool) topCommand() *cobra.Command {
	var interval time.Duration
	var count int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "top [-n COUNT] [-i INTERVAL]",
		Short: "Show load, memory and commands of the machine repeatedly",
		Long: `Show the machine's load and memory, and the commands of wick ps by their current use of
processor time. Repeat COUNT times, or until interrupted.

--json prints a sample as an object on a line, by default one: uptime in seconds, load,
memory_total, memory_available, disk_total and disk_free in bytes, processes, and commands
as wick ps --json prints them.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 0 || interval <= 0 {
				return exit.Usage(errors.New("top: --count cannot be negative, and --interval must be above 0"))
			}
			if asJSON && !cmd.Flags().Changed("count") {
				count = 1
			}
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return t.top(cmd.Context(), c, asJSON, interval, count)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&asJSON, "json", false, "print a sample as an object of JSON on a line")
	flags.IntVarP(&count, "count", "n", 0, "stop after this many times; 0 for never")
	flags.VarP(units.Time(&interval, 2*time.Second), "interval", "i", "time from one to the next")
	return cmd
}

func (t *tool) top(ctx context.Context, c *client.Client, asJSON bool, interval time.Duration, count int) error {
	before := map[uint32]client.Process{}
	return repeat(ctx, interval, count, func() error {
		stats, err := c.Stats(ctx)
		if err != nil {
			return err
		}
		list, err := c.Processes(ctx)
		if err != nil {
			return err
		}
		took := func(p client.Process) time.Duration {
			last, ok := before[p.PID]
			if !ok || last.ID != p.ID || last.Age > p.Age { // another command may have its pid
				return p.CPU
			}
			return p.CPU - last.CPU
		}
		slices.SortStableFunc(list, func(a, b client.Process) int { return int(took(b) - took(a)) })
		clear(before)
		for _, p := range list {
			before[p.PID] = p
		}
		if asJSON {
			return output.JSON(t.stdout, newTopLine(stats, list))
		}
		var page bytes.Buffer
		if terminal.Is(t.stdout) {
			page.WriteString("\x1b[H\x1b[J")
		}
		one, five, fifteen := stats.Load()
		total, available := stats.Memory()
		disk, free := stats.Disk()
		fmt.Fprintf(&page, "up %s, load %.2f %.2f %.2f, memory %s of %s free, disk %s of %s free, %d processes\n\n",
			units.ShortTime(stats.Uptime()), one, five, fifteen, units.ShortBytes(available), units.ShortBytes(total), units.ShortBytes(free), units.ShortBytes(disk), stats.Processes())
		w := tabwriter.NewWriter(&page, 0, 0, 2, ' ', 0)
		processTable(w, list)
		w.Flush()
		_, err = t.stdout.Write(page.Bytes())
		return err
	})
}

// repeat calls f now and at each interval, count times or until ctx ends. It returns nil if ctx
// ends.
func repeat(ctx context.Context, interval time.Duration, count int, f func() error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := f(); err != nil {
			return err
		}
		if n == count {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
