package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/units"
	"wick/framing"
	"wick/framing/client"
)

// psCommand returns wick ps.
func (t *tool) psCommand() *cobra.Command {
	var f output.Flags
	var prune bool
	var remove []string
	var which machineFlags
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List machines, or the commands in one",
		Long: `List the machines that run, as wick list does; with -a also the others.

With MACHINE or --to, list the commands that the agent of that guest has started for any
host and that still run, or that have ended and are kept until a host attaches.

STATE is attached if a connection has the command, alone if none has it, or ended. A t
after it means that the command has a terminal. TIME, MEM and PROCS are those of the
command and its descendants. A dash means that the guest does not know the figure.

The guest keeps only so many commands (info shows limit.kept). --prune forgets those that
have ended, with their output. --rm kills one and forgets it.

The fields of --json for a command are id, pid, state, terminal, age and cpu in seconds, memory in bytes,
processes, and command.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	guest := t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
		switch {
		case prune && len(remove) > 0:
			return exit.Usage(errors.New("ps: --prune and --rm exclude each other"))
		case prune:
			return t.prune(ctx, c)
		case len(remove) > 0:
			return t.forget(ctx, c, remove)
		}
		return t.ps(ctx, c, &f)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case which.given() && t.to != "" && t.to != os.Getenv("WICK_TO"):
			return exit.Usage(errors.New("ps: -a and --filter are for the list of machines; leave the guest out"))
		case which.given(), t.to == "" && !prune && len(remove) == 0:
			return t.listMachines(&which, &f)
		}
		return guest(cmd, args)
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	which.add(cmd)
	f.Add(cmd, "ids")
	cmd.Flags().BoolVar(&prune, "prune", false, "forget the kept commands that have ended, and print their ids")
	cmd.Flags().StringArrayVar(&remove, "rm", nil, "kill the command `ID` and forget it; may be repeated")
	return cmd
}

// prune forgets the kept commands that have ended, and prints their ids.
func (t *tool) prune(ctx context.Context, c *client.Client) error {
	list, err := c.Processes(ctx)
	for _, p := range list {
		if err == nil && p.Kind == framing.KindStart && p.Exited && !p.Attached && p.ID != framing.WorkloadID {
			err = t.forgetOne(ctx, c, &p)
		}
	}
	return err
}

// forget kills commands and forgets them, and prints their ids.
func (t *tool) forget(ctx context.Context, c *client.Client, ids []string) error {
	list, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	found := make([]*client.Process, len(ids))
	for i, id := range ids {
		if found[i], err = findIn(list, id); err != nil {
			return err // before any is killed
		}
	}
	for _, p := range found {
		if !p.Exited {
			err := c.SignalID(ctx, p.ID, syscall.SIGKILL, framing.ScopeTree)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if err := t.forgetOne(ctx, c, p); err != nil {
			return err
		}
	}
	return nil
}

// forgetOne takes the rest of a command that has ended, or is about to. The guest forgets it then.
func (t *tool) forgetOne(ctx context.Context, c *client.Client, p *client.Process) error {
	cmd, err := c.Attach(ctx, p.ID, client.AttachOptions{})
	if err == nil {
		_, err = cmd.Wait(ctx)
	}
	if _, ended := errors.AsType[*client.ExitError](err); err != nil && !ended && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "%016x\n", p.ID)
	return err
}

func (t *tool) ps(ctx context.Context, c *client.Client, f *output.Flags) error {
	list, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	return output.List(t.stdout, f, processLines(list), func(p processLine) string { return cmp.Or(p.ID, "-") }, func(w io.Writer) { processTable(w, list) })
}

// processTable prints a list of processes.
func processTable(w io.Writer, list []client.Process) {
	fmt.Fprintln(w, "ID\tPID\tSTATE\tAGE\tTIME\tMEM\tPROCS\tCOMMAND")
	for _, p := range list {
		id := "-"
		if p.ID != 0 {
			id = fmt.Sprintf("%016x", p.ID)
		}
		cpu := output.Known(uint64(p.CPU)+uint64(p.Processes), p.CPU.Round(10*time.Millisecond).String())
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", id, p.PID, processState(&p), units.ShortTime(p.Age), cpu,
			output.Known(p.Memory, units.ShortBytes(p.Memory)), output.Known(uint64(p.Processes), fmt.Sprint(p.Processes)), output.Printable(p.Command))
	}
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
