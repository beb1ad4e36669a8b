package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/framing"
	"wick/framing/client"
)

// signalCommand returns wick signal.
func (t *tool) signalCommand() *cobra.Command {
	var tree, alone bool
	cmd := &cobra.Command{
		Use:   "signal [--tree | --process] ID|PID SIGNAL",
		Short: "Send a signal to a command in the guest",
		Long: `Send a signal to a command that the agent has started. By default it goes to the command's
process group, on a terminal to the foreground group. With --tree it goes to the command
and all its descendants, even in other groups and sessions. With --process it goes to the
first process only.

wick ps shows the ID and the PID of each command. SIGNAL is a name, with or without SIG, or
a number.`,
		Example: `  wick signal 8141 HUP
  wick signal --tree 5f3a KILL`,
		Args:              needs("ID|PID", "SIGNAL"),
		ValidArgsFunction: t.completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			scope := framing.ScopeGroup
			switch {
			case tree && alone:
				return exit.Usage(errors.New("signal: --tree and --process exclude each other"))
			case tree:
				scope = framing.ScopeTree
			case alone:
				scope = framing.ScopeProcess
			}
			sig, err := parseSignal(args[1])
			if err != nil {
				return exit.Usage(err)
			}
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return signalProcess(cmd.Context(), c, args[0], sig, scope)
		},
	}
	cmd.Flags().BoolVar(&tree, "tree", false, "signal the command and all its descendants")
	cmd.Flags().BoolVar(&alone, "process", false, "signal only the command's first process")
	return cmd
}

// signalProcess sends a signal to the command whose pid or id is name. A number that is both is
// taken as a pid.
func signalProcess(ctx context.Context, c *client.Client, name string, sig syscall.Signal, scope client.SignalScope) error {
	list, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	if pid, err := strconv.ParseUint(name, 10, 32); err == nil {
		for _, p := range list {
			switch {
			case uint64(p.PID) != pid || p.Exited:
			case p.ID != 0:
				return c.SignalID(ctx, p.ID, sig, scope)
			default:
				return c.SignalPID(ctx, p.PID, sig, scope)
			}
		}
	}
	p, err := findIn(list, name)
	if err != nil {
		return err
	}
	return c.SignalID(ctx, p.ID, sig, scope)
}

// linuxSignals has the names of the guest's signals by number. Another host has other numbers.
var linuxSignals = strings.Fields("0 HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
	"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")

// parseSignal parses a signal's name or number.
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := slices.Index(linuxSignals, name); n > 0 {
		return syscall.Signal(n), nil
	}
	if n := realTimeSignal(name); n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("signal: there is no signal %q", s)
}

// realTimeSignal returns the number of a signal such as RTMIN+3 or RTMAX-1, or 0. The numbers are
// those of the C library.
func realTimeSignal(name string) syscall.Signal {
	const first, last = 34, 64
	n := 0
	if text, ok := strings.CutPrefix(name, "RTMIN"); ok {
		offset, err := strconv.Atoi("0" + strings.TrimPrefix(text, "+"))
		if err == nil {
			n = first + offset
		}
	} else if text, ok := strings.CutPrefix(name, "RTMAX"); ok {
		offset, err := strconv.Atoi("0" + strings.TrimPrefix(text, "-"))
		if err == nil {
			n = last - offset
		}
	}
	if n < first || n > last {
		return 0
	}
	return syscall.Signal(n)
}

// signalName returns the name of a signal without SIG.
func signalName(sig syscall.Signal) string {
	if sig > 0 && int(sig) < len(linuxSignals) {
		return linuxSignals[sig]
	}
	return strconv.Itoa(int(sig))
}
