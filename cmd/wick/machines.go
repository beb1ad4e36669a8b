//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/units"
)

// eachName returns the RunE of a command that does something to each of its names in the store. It
// prints each name for which that was done. One that fails does not keep the others from it.
func (t *tool) eachName(do func(ctx context.Context, s keeper.Store, name string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, names []string) (failed error) {
		s, err := keeper.Default()
		if err != nil {
			return err
		}
		for _, name := range names {
			err := do(cmd.Context(), s, name)
			if err == nil {
				_, err = fmt.Fprintln(t.stdout, name)
			}
			failed = errors.Join(failed, err)
		}
		return failed
	}
}

// eachMachine is eachName for names of machines.
func (t *tool) eachMachine(do func(ctx context.Context, m *keeper.Machine) error) func(*cobra.Command, []string) error {
	return t.eachName(func(ctx context.Context, s keeper.Store, name string) error {
		m, err := s.Find(name)
		if err != nil {
			return err
		}
		return do(ctx, m)
	})
}

// listCommand returns wick list.
func (t *tool) listCommand() *cobra.Command {
	var f output.Flags
	var which machineFlags
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List machines (also wick ps)",
		Long: `List the machines of this user that run, the newest first. STATE is starting, running,
paused, stopping, stopped with the exit code and why it failed, or lost: a machine whose
supervisor was killed. SINCE is how long it has been so. PORTS are the published ports, and
MEMORY is what the machine may use.

A filter is name=TEXT, id=TEXT, image=TEXT, status=STATE, label=NAME or label=NAME=VALUE.
A machine has to match all names of filters, and one of those with the same name; of labels
it needs all. The fields of --json are those of wick inspect.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return t.listMachines(&which, &f)
		},
	}
	which.add(cmd)
	f.Add(cmd, "ids")
	return cmd
}

// listMachines lists machines.
func (t *tool) listMachines(which *machineFlags, f *output.Flags) error {
	filters, err := which.parse()
	if err != nil {
		return exit.Usage(err)
	}
	s, err := keeper.Default()
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	_, anyStatus := filters["status"]
	list = slices.DeleteFunc(list, func(m *keeper.State) bool {
		return !m.Status.Live() && !which.all && !anyStatus || !matches(m, filters)
	})
	return output.List(t.stdout, f, list, func(m *keeper.State) string { return m.ID }, func(w io.Writer) { machineTable(w, list) })
}

// matches reports whether a machine matches filters.
func matches(m *keeper.State, filters map[string][]string) bool {
	for name, values := range filters {
		match := func(value string) bool {
			switch name {
			case "name":
				return strings.Contains(m.Name, value)
			case "id":
				return strings.HasPrefix(m.ID, value)
			case "image":
				return strings.Contains(m.Image, value)
			case "status":
				return string(m.Status) == value
			}
			label, want, valued := strings.Cut(value, "=")
			got, ok := m.Labels[label]
			return ok && (!valued || got == want)
		}
		if name == "label" {
			if slices.ContainsFunc(values, func(v string) bool { return !match(v) }) {
				return false
			}
		} else if !slices.ContainsFunc(values, match) {
			return false
		}
	}
	return true
}

func machineTable(w io.Writer, list []*keeper.State) {
	fmt.Fprintln(w, "NAME\tID\tIMAGE\tSTATE\tSINCE\tPORTS\tMEMORY")
	for _, m := range list {
		status, since := string(m.Status), m.Started
		if !m.Status.Live() {
			since = m.Ended
		}
		if m.Status == keeper.Stopped {
			status = fmt.Sprintf("stopped (%d)%s", m.ExitCode, shortReason(m.Error))
		}
		if since.IsZero() {
			since = m.Created
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%dM\n", m.Name, m.ID, cmp.Or(output.Printable(m.Image), "-"), status,
			units.ShortTime(time.Since(since)), cmp.Or(strings.Join(portTexts(m), " "), "-"), m.MemoryMiB)
	}
}

// mostReason is how much of an error a table shows, in bytes.
const mostReason = 60

// shortReason returns the beginning of an error behind a colon, or "" without one.
func shortReason(text string) string {
	if text == "" {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	if text = output.Printable(text); len(text) > mostReason {
		text = strings.ToValidUTF8(text[:mostReason], "") + "…"
	}
	return ": " + text
}

// stopFlags say how machines are asked to stop.
type stopFlags struct {
	seconds int
	signal  string
}

func (f *stopFlags) add(cmd *cobra.Command) {
	f.seconds = -1
	flags := cmd.Flags()
	flags.VarP(units.Seconds(&f.seconds), "time", "t", "`SECONDS` that the command has for its end; 0 kills it at once")
	flags.StringVarP(&f.signal, "signal", "s", "", "`SIGNAL` that asks the command to end")
}

// request returns what the supervisors are asked for.
func (f *stopFlags) request(cmd *cobra.Command) (keeper.Request, error) {
	r := keeper.Request{Op: keeper.OpStop, Grace: -1}
	if cmd.Flags().Changed("time") {
		if f.seconds < 0 {
			return r, exit.Usage(fmt.Errorf("-t %d: want a number of seconds, or 0", f.seconds))
		}
		r.Grace = time.Duration(f.seconds) * time.Second
	}
	if f.signal != "" {
		sig, err := parseSignal(f.signal)
		if err != nil {
			return r, exit.Usage(err)
		}
		r.Signal = int(sig)
	}
	return r, nil
}

// stopCommand returns wick stop.
func (t *tool) stopCommand() *cobra.Command {
	var f stopFlags
	cmd := &cobra.Command{
		Use:   "stop [-t SECONDS] [-s SIGNAL] MACHINE...",
		Short: "Stop machines in order",
		Long: `Stop machines. The command of each gets its stop signal, by default TERM. If it still runs
after the time of -t, by default 10 s, it is killed. Then the machine powers off. Its disk and
its log stay until wick rm.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
	}
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		r, err := f.request(cmd)
		if err != nil {
			return err
		}
		return t.eachMachine(func(ctx context.Context, m *keeper.Machine) error {
			return stopMachine(ctx, m, r)
		})(cmd, names)
	}
	return cmd
}

// stopMachine stops a machine, and waits until it has no supervisor. One that does not run is fine.
func stopMachine(ctx context.Context, m *keeper.Machine, r keeper.Request) error {
	if _, err := m.Call(ctx, r); err != nil && !errors.Is(err, keeper.ErrNotRunning) {
		return err
	}
	_, err := m.Wait(ctx)
	if errors.Is(err, keeper.ErrUnknown) {
		err = nil // it was run with --rm
	}
	return err
}

// killCommand returns wick kill.
func (t *tool) killCommand() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [-s SIGNAL] MACHINE...",
		Short: "Kill machines, or send a signal to their commands",
		Long: `Kill machines at once, like a power failure. With -s the signal goes to the machine's
command instead, and the machine runs on if the command does.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "KILL", "`SIGNAL` for the command")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		sig, err := parseSignal(signal)
		if err != nil {
			return exit.Usage(err)
		}
		return t.eachMachine(func(ctx context.Context, m *keeper.Machine) error {
			_, err := m.Call(ctx, keeper.Request{Op: keeper.OpKill, Signal: int(sig)})
			return err
		})(cmd, names)
	}
	return cmd
}

// callCommand returns a command that asks the supervisors of machines for one operation.
func (t *tool) callCommand(op, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: op + " MACHINE...", Short: short, Long: long,
		Args: needs("MACHINE..."), ValidArgsFunction: completeMachines,
		RunE: t.eachMachine(func(ctx context.Context, m *keeper.Machine) error {
			_, err := m.Call(ctx, keeper.Request{Op: op})
			return err
		}),
	}
}

func (t *tool) pauseCommand() *cobra.Command {
	return t.callCommand(keeper.OpPause, "Pause machines",
		`Stop the processors of machines. They keep their memory, and do nothing until wick unpause.
For them no time passes, except on their clocks.`)
}

func (t *tool) unpauseCommand() *cobra.Command {
	return t.callCommand(keeper.OpUnpause, "Let paused machines go on", `Let the processors of paused machines go on.`)
}

// waitCommand returns wick wait.
func (t *tool) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait MACHINE...",
		Short: "Wait for machines to stop, and print the exit codes",
		Long: `Wait until each of the machines has stopped, and print the exit code of its command, one a
line.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := keeper.Default()
			if err != nil {
				return err
			}
			for _, name := range names {
				m, err := s.Find(name)
				if err != nil {
					return err
				}
				state, err := m.Wait(cmd.Context())
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintln(t.stdout, state.ExitCode); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// rmCommand returns wick rm.
func (t *tool) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [-f] MACHINE...",
		Short: "Remove machines with their disks and logs",
		Long: `Remove machines that do not run, with their throw-away disks and their logs. Named disks
(wick run --disk) stay. -f kills those that run.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill those that run")
	cmd.RunE = t.eachMachine(func(ctx context.Context, m *keeper.Machine) error {
		if force {
			if _, err := m.Call(ctx, keeper.Request{Op: keeper.OpKill}); err != nil && !errors.Is(err, keeper.ErrNotRunning) {
				return err
			}
			if _, err := m.Wait(ctx); err != nil && !errors.Is(err, keeper.ErrUnknown) {
				return err
			}
		}
		err := m.Hold()
		switch {
		case err == nil:
			return m.Remove()
		case errors.Is(err, keeper.ErrBusy):
			return fmt.Errorf("%w; stop it first (wick stop), or use -f", err)
		case force && errors.Is(err, keeper.ErrUnknown):
			return nil
		}
		return err
	})
	return cmd
}

// renameCommand returns wick rename.
func (t *tool) renameCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rename MACHINE NAME",
		Short:             "Give a machine another name",
		Long:              `Give a machine another name, which no other machine has. The machine may run.`,
		Args:              needs("MACHINE", "NAME"),
		ValidArgsFunction: completeMachines,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := keeper.Default()
			if err != nil {
				return err
			}
			m, err := s.Find(args[0])
			if err != nil {
				return err
			}
			return m.Rename(args[1])
		},
	}
}

// startCommand returns wick start.
func (t *tool) startCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "start MACHINE...",
		Short: "Start machines again that have stopped",
		Long: `Start machines that have stopped or are lost, with the command line of the wick run that
made them, and with their disks.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
		RunE:              t.eachMachine(t.startMachine),
	}
}

// startMachine starts a machine that does not run. One that runs is fine.
func (t *tool) startMachine(ctx context.Context, m *keeper.Machine) error {
	err := m.Hold()
	if errors.Is(err, keeper.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	state, err := m.State()
	if err != nil {
		m.Release()
		return err
	}
	return t.launch(ctx, m, state.Args, state.Dir, &runUI{w: t.stderr, live: terminal.Is(t.stderr)})
}

// restartCommand returns wick restart.
func (t *tool) restartCommand() *cobra.Command {
	var f stopFlags
	cmd := &cobra.Command{
		Use:               "restart [-t SECONDS] [-s SIGNAL] MACHINE...",
		Short:             "Stop machines and start them again",
		Long:              `Stop machines in order, as wick stop does, and start them again with their disks.`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachines,
	}
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		r, err := f.request(cmd)
		if err != nil {
			return err
		}
		return t.eachMachine(func(ctx context.Context, m *keeper.Machine) error {
			if err := stopMachine(ctx, m, r); err != nil {
				return err
			}
			return t.startMachine(ctx, m)
		})(cmd, names)
	}
	return cmd
}
