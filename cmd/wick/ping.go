package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/units"
)

// pingCommand returns wick ping.
func (t *tool) pingCommand() *cobra.Command {
	var p pinger
	cmd := &cobra.Command{
		Use:   "ping [-c COUNT] [-i INTERVAL] [-v]",
		Short: "Measure how fast the agent answers",
		Long: `Ping the agent and print a line for each answer. Print a summary after COUNT pings, or when
interrupted. The exit code is 1 if no ping was answered.

--verbose tells a slow guest from a slow connection. It asks for the guest's figures in
place of a pong, and shows what can have delayed the answer:

  loop         the longest turn of the agent's loop since the last reading
  wait         how long the agent was ready to run and had no processor, since the ping before
  cpu, memory, io
               the share of the last 10 s for which some task of the guest stalled on it
  stood-still  how much less time has passed in the guest than here, if that is 0.1 s or more

If all of them are small and the answer was late, it was the connection.`,
		Example: `  wick ping -c 3
  wick ping -c 1000 -i 0 --to unix:/run/agent.sock`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.count < 0 || p.interval < 0 || p.patience <= 0 {
				return exit.Usage(errors.New("ping: --count and --interval cannot be negative, and --wait must be above 0"))
			}
			return t.ping(cmd.Context(), &p)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVarP(&p.count, "count", "c", 0, "stop after this many pings; 0 for never")
	flags.VarP(units.Time(&p.interval, time.Second), "interval", "i", "time from one ping to the next, at least until its answer")
	flags.BoolVarP(&p.verbose, "verbose", "v", false, "show what delayed the answer in the guest")
	flags.VarP(units.Time(&p.patience, time.Second), "wait", "W", "how long to wait for each answer")
	return cmd
}

// pinger has the options and the results of ping.
type pinger struct {
	count              int
	interval, patience time.Duration
	verbose            bool
	looks              looks // with verbose

	sent int
	rtts []time.Duration
}

// ping pings until the count is reached, the connection is lost, or ctx ends.
func (t *tool) ping(ctx context.Context, p *pinger) error {
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(t.stdout, "PING %s\n", t.to); err != nil {
		return err
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for (p.count == 0 || p.sent < p.count) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-next.C:
		}
		next.Reset(p.interval)
		limited, cancel := context.WithTimeout(ctx, p.patience)
		var rtt time.Duration
		var says string
		if p.verbose {
			rtt, says, err = p.ask(limited, c)
		} else {
			rtt, err = c.Ping(limited)
		}
		cancel()
		if ctx.Err() != nil && err != nil {
			break // interrupted before its time was over
		}
		p.sent++
		switch {
		case err == nil:
			p.rtts = append(p.rtts, rtt)
			_, err = fmt.Fprintf(t.stdout, "pong seq=%d time=%s%s\n", p.sent, milliseconds(rtt), says)
		case errors.Is(err, context.DeadlineExceeded):
			_, err = fmt.Fprintf(t.stdout, "no answer to seq=%d within %v\n", p.sent, p.patience)
		}
		if err != nil {
			break
		}
	}
	p.sumUp(t)
	if err == nil && len(p.rtts) == 0 && ctx.Err() == nil {
		return &exit.Error{Code: exit.Failed}
	}
	return err
}

// sumUp prints the summary.
func (p *pinger) sumUp(t *tool) {
	fmt.Fprintf(t.stdout, "--- %s: %d sent, %d answered", t.to, p.sent, len(p.rtts))
	if p.sent > 0 {
		fmt.Fprintf(t.stdout, ", %d%% lost", 100*(p.sent-len(p.rtts))/p.sent)
	}
	fmt.Fprintln(t.stdout)
	if len(p.rtts) > 0 {
		slices.Sort(p.rtts)
		fmt.Fprintf(t.stdout, "min/median/max %s/%s/%s\n",
			milliseconds(p.rtts[0]), milliseconds(median(p.rtts)), milliseconds(p.rtts[len(p.rtts)-1]))
	}
}

// median returns the median of a sorted list, which must not be empty.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
}
