package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// execCommand is "wick exec".
func (t *tool) execCommand() *cobra.Command {
	var flags sessionFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG]...",
		Short: "Run a command in the guest and pass on its output and exit code",
		Long: `Run a command in the guest, wait for it, and pass on its stdout and its stderr as they
come, and its exit code.

One COMMAND alone is a line for the guest's shell. With arguments it is a program, and
every argument reaches it as it is given. A line, an argument and a NAME=VALUE have at
most 131071 bytes, and all of them 256 KiB; what is longer goes by stdin or a file. Stdin is /dev/null, or with -i what comes to
wick. With -t the command has a terminal, whose size follows that of ours; every key
goes to it, Ctrl-C too.

The exit code is the command's: 124 if it ran out of time, also where the guest does not
answer any more by then; 128+N if signal N killed it; 125 if the guest could not be
reached or would not run it. SIGINT, SIGTERM and SIGHUP are passed on to the command; if
it has not ended 5 s later, or at a second signal, it is killed, with all that it became.
SIGQUIT is only passed on.

If the connection is lost the command is killed too. With --keep it outlives its
connection for that time: wick attaches to it again by itself, and wick attach does from
elsewhere. The keys Ctrl-P Ctrl-Q then leave it running. While wick attaches again, what
is typed waits for the command, and Ctrl-C twice gives up. With --detach it is left at
once; -i and -t then are for those that attach.

Where stdout and stderr are one file here, as after 2>&1, they are one in the guest too,
so that what the command writes keeps its order. When the command has exited, processes
that it left may still hold its output: that is waited for 100 ms, or as long as
--wait-output says, and then wick says how many there are. With -t the terminal has the
modes of ours.

An agent that is too old for that runs the command all the same, without the flags: its
output comes when it has ended, up to 16 MiB, and what is interrupted runs on.`,
		Example: `  wick exec -- uname -a
  wick exec 'dmesg | tail -n 3'
  wick exec --timeout 30s --env LANG=C -- make -C /src test
  tar -c . | wick exec -i -- tar -x -C /srv
  wick exec -it --user postgres -- psql
  wick --to vsock:3:1000 exec --root -- mount -o remount,ro /data`,
		Args:              needs("COMMAND..."),
		ValidArgsFunction: cobra.NoFileCompletions, // the files here are not the guest's
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			return t.exec(ctx, c, &flags, args)
		}),
	}
	flags.add(cmd)
	flags.addKeep(cmd)
	return cmd
}

// exec runs the command of the flags and the arguments.
func (t *tool) exec(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) error {
	return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
		return t.execWithin(ctx, c, flags, args)
	})
}

func (t *tool) execWithin(
	ctx context.Context, c *client.Client, flags *sessionFlags, args []string,
) error {
	ok, err := talks(ctx, c)
	if err != nil {
		return err
	}
	if !ok {
		return t.execOld(ctx, c, flags, args)
	}
	cmd, err := flags.command(c, args)
	if err != nil {
		return err
	}
	if flags.stdin && flags.tty && !flags.detach && t.keyboard() == nil {
		return usageError(errNoKeyboard)
	}
	s := t.newSession(cmd, flags.stdin, flags.tty)
	if flags.detach {
		return s.detach(ctx)
	}
	return s.run(ctx)
}

var errNoKeyboard = errors.New("-i with -t needs a terminal as stdin; leave one of them out")

// execOld runs it by an agent that can do no more than that.
func (t *tool) execOld(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) error {
	if flag := flags.wanted(); flag != "" {
		_, err := c.Hello(ctx)
		if err == nil {
			err = &client.UnsupportedError{Feature: "processes that can be talked to"}
		}
		return &exitError{code: exitTransport, err: fmt.Errorf("%s: %w", flag, err)}
	}
	r, err := c.Exec(ctx, flags.exec(args))
	if err != nil {
		return commandFailed(err)
	}
	if err := t.pass(r); err != nil {
		return err
	}
	return commandExit(r.ExitCode)
}
