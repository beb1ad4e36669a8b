package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wick/framing"
	"wick/framing/client"
)

// psCommand returns wick ps.
func (t *tool) psCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List the commands in the guest that run or are kept",
		Long: `List the commands that the agent has started for any host and that still run, or that have
ended and are kept until a host attaches.

STATE is attached if a connection has the command, alone if none has it, or ended. A t
after it means that the command has a terminal. TIME, MEM and PROCS are those of the
command and its descendants. A dash means that the guest does not know the figure.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			return t.ps(ctx, c, t.stdout)
		}),
	}
}

func (t *tool) ps(ctx context.Context, c *client.Client, to io.Writer) error {
	list, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	return processTable(to, list)
}

// processTable prints a list of processes.
func processTable(to io.Writer, list []client.Process) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATE\tAGE\tTIME\tMEM\tPROCS\tCOMMAND")
	for _, p := range list {
		id := "-"
		if p.ID != 0 {
			id = fmt.Sprintf("%016x", p.ID)
		}
		cpu := known(uint64(p.CPU)+uint64(p.Processes), p.CPU.Round(10*time.Millisecond).String())
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", id, p.PID, processState(&p), shortTime(p.Age), cpu,
			known(p.Memory, shortBytes(p.Memory)), known(uint64(p.Processes), fmt.Sprint(p.Processes)), printable(p.Command))
	}
	return w.Flush()
}

func processState(p *client.Process) string {
	state := "alone"
	switch {
	case p.Exited:
		state = "ended"
	case p.Attached || p.Kind == framing.KindExec:
		state = "attached"
	}
	if p.Terminal {
		state += " t"
	}
	return state
}

// known returns text, or a dash if value is 0, which stands for unknown.
func known(value uint64, text string) string {
	if value == 0 {
		return "-"
	}
	return text
}

// shortTime returns d in the form 4s, 3m12s, 5h02m or 12d.
func shortTime(d time.Duration) string {
	switch s := int64(d / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd", s/86400)
	}
}

// shortBytes returns n bytes in about three digits, with a unit of 1024.
func shortBytes(n uint64) string {
	v, units := float64(n), "BKMGTPE"
	i := 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1024
	}
	switch {
	case i == 0:
		return fmt.Sprintf("%d", n)
	case v < 10:
		return fmt.Sprintf("%.1f%c", v, units[i])
	}
	return fmt.Sprintf("%.0f%c", v, units[i])
}
