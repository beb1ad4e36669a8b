package main

import (
	"context"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/framing"
	"wick/framing/client"
)

// spawnCommand returns wick spawn.
func (t *tool) spawnCommand() *cobra.Command {
	var flags commandFlags
	var wait bool
	cmd := &cobra.Command{
		Use:   "spawn [flags] -- COMMAND [ARG]...",
		Short: "Start a command in the guest and print its pid",
		Long: `Start a command in the guest and print its pid, without waiting for it to end. COMMAND
and its arguments are as for exec.

With --wait the pid is the first line of stdout. The command's output follows when it has
ended, and its exit code is passed on. Signals are passed on as by wick exec, but a command
that does not end is left running.`,
		Example: `  wick spawn -- /srv/server --port 8080
  wick spawn --wait --timeout 5m -c 'make && make install'`,
		PreRunE:           func(*cobra.Command, []string) error { return flags.readEnvironment() },
		Args:              needs("COMMAND..."),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			if err := flags.checkLine(args); err != nil {
				return err
			}
			return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
				return t.spawn(ctx, c, flags.exec(args), wait)
			})
		}),
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the command to end and pass on its output and exit code")
	return cmd
}

// spawn starts a command and prints its pid. With wait it waits for the command's end.
func (t *tool) spawn(ctx context.Context, c *client.Client, command client.Exec, wait bool) error {
	told := false
	if wait {
		var err error
		if told, err = talks(ctx, c); err != nil {
			return err
		}
	}
	pid, err := c.Spawn(ctx, command)
	if err != nil {
		return exit.NotRun(err)
	}
	if told {
		t.passTo(c, pid)
	}
	if _, err := fmt.Fprintln(t.stdout, pid); err != nil {
		return exit.NotRun(fmt.Errorf("print the command's pid %d: %w", pid, err))
	}
	if !wait {
		return nil
	}
	ended, err := c.WaitExit(ctx, pid)
	t.running.Store(nil)
	if err != nil {
		return exit.NotRun(err)
	}
	if err := t.pass(&ended.Result); err != nil {
		return err
	}
	return exit.OfCommand(ended.ExitCode)
}

// passTo makes the tool pass signals on to a spawned command.
func (t *tool) passTo(c *client.Client, pid uint32) {
	pass := func(ctx context.Context, sig syscall.Signal) error {
		return c.SignalPID(ctx, pid, sig, framing.ScopeGroup)
	}
	t.running.Store(&pass)
}
