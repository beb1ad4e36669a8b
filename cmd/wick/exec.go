package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/help"
	"wick/framing"
	"wick/framing/client"
)

// execCommand returns wick exec.
func (t *tool) execCommand() *cobra.Command {
	var flags sessionFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] [MACHINE | --] COMMAND [ARG]...",
		Short: "Run a command in the guest and pass on its output and exit code",
		Long: `Run a command in a machine of wick run -d, or in the guest that --to names, and wait for it.
Its stdout and stderr are passed on as they arrive, then its exit code.

COMMAND is a program of the guest, and each argument reaches it unchanged. With -c it is a
line for the guest's shell instead: wick exec -c 'dmesg | tail'. A line, an argument and a
NAME=VALUE have at most 131071 bytes each, and 256 KiB together; use stdin or a file for
more.

Stdin is /dev/null, or with -i that of wick. With -t the command has a terminal, with the
modes and the size of yours. All keys go to it, including Ctrl-C.

The exit code is the command's. It is 124 if the command ran out of time, or if the guest
stopped answering by then; 128+N if signal N killed it; 125 if the guest could not be
reached or did not run it. SIGINT, SIGTERM and SIGHUP are passed on to the command. If it
still runs 5 s later, or at a second signal, it is killed with all its descendants. SIGQUIT
is only passed on.

If the connection is lost, the command is killed too. With --keep it outlives the
connection for that time. wick attaches to it again by itself, and wick attach does from
elsewhere. Ctrl-P Ctrl-Q then leaves it running. While wick is attaching, typed keys wait
for the command, and Ctrl-C twice gives up. With --detach wick leaves it at once, and -i
and -t apply to a later wick attach. It then goes on without a reader: the guest keeps the
newest 64 KiB of each output for wick logs and wick attach. With --keep-all it waits
instead, and no output is lost.

If stdout and stderr are one file here, as after 2>&1, they are one in the guest too, so
that the output keeps its order. When the command exits, processes that it left may still
hold its output. wick waits 100 ms for them, or for --wait-output, and then reports how
many there are.

The flags from --cap-drop on confine the command. --cap-drop takes capabilities, and
--cap-add leaves them, and gives them to a --user too. --read-only is as docker's: other
mounts, such as /run and volumes, stay as they are, and --mount-tmpfs adds a directory that
can be written. --root-dir makes a directory of the guest the root, with a /proc and a /dev
without disks. With --pid private the command is process 1 of its own /proc, and a signal
that it does not handle has no effect, except SIGKILL. --seccomp takes a file of this
machine with a compiled filter, as seccomp_export_bpf(3) of libseccomp writes it; the
filter must be for the guest's architecture. --join starts the command in the namespaces
and the root of a running one.

An older agent runs the command too, but without these flags. Its output arrives at the
end, up to 16 MiB, and an interrupted command goes on running.`,
		Example: `  wick exec web uname -a
  wick exec -c 'dmesg | tail -n 3'
  wick exec --timeout 30s --env LANG=C -- make -C /src test
  tar -c . | wick exec -i -- tar -x -C /srv
  wick exec -it --user postgres -- psql
  wick exec --cap-drop ALL --no-new-privs --read-only --mount-tmpfs /tmp -- ./untrusted
  wick exec -it --root-dir /srv/debian --pid private --network private -- bash
  wick --to vsock:3:1000 exec --root -- mount -o remount,ro /data`,
		PreRunE:           func(*cobra.Command, []string) error { return flags.readEnvironment() },
		Args:              needs("COMMAND..."),
		ValidArgsFunction: t.completeMachineFirst, // local files are not those of the guest
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args = t.takeMachine(cmd, args); len(args) == 0 {
			return exit.Usage(fmt.Errorf("exec: COMMAND is missing behind the name of a machine; see --help"))
		}
		return t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			return t.exec(ctx, c, &flags, args)
		})(cmd, args)
	}
	flags.add(cmd)
	flags.addKeep(cmd)
	help.Group(cmd, "Flags", "interactive tty env env-file dir user detach line timeout root limit keep keep-all usage wait-output")
	help.Group(cmd, "Confinement of the command", confinement+" network")
	return cmd
}

// exec runs the command of the flags and the arguments, and keeps its timeout.
func (t *tool) exec(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) error {
	return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
		return t.execWithin(ctx, c, flags, args)
	})
}

func (t *tool) execWithin(
	ctx context.Context, c *client.Client, flags *sessionFlags, args []string,
) error {
	h, err := c.Hello(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return t.execOld(ctx, c, flags, args)
	case err != nil:
		return exit.NotRun(err)
	case h.Features&framing.FeatureProcesses == 0:
		return t.execOld(ctx, c, flags, args)
	}
	cmd, err := flags.command(c, args)
	if err != nil {
		return err
	}
	cmd.Loose = flags.detach && !flags.keepAll && h.Features&framing.FeatureLook != 0
	if flags.stdin && flags.tty && !flags.detach && t.keyboard() == nil {
		return exit.Usage(errNoKeyboard)
	}
	s := t.newSession(cmd, flags.stdin, flags.tty)
	s.usage = flags.usage
	if flags.usage {
		if err := c.CountIO(ctx); err != nil {
			return exit.NotRun(err)
		}
	}
	if flags.detach {
		return s.detach(ctx)
	}
	return s.run(ctx)
}

var errNoKeyboard = errors.New("-i with -t needs a terminal as stdin; leave one of them out")

// execOld runs the command with the base protocol, for an agent without the extension.
func (t *tool) execOld(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) error {
	if flag := flags.wanted(); flag != "" {
		_, err := c.Hello(ctx)
		if err == nil {
			err = &client.UnsupportedError{Feature: "interactive processes"}
		}
		return &exit.Error{Code: exit.Own, Err: fmt.Errorf("%s: %w", flag, err)}
	}
	if err := flags.checkLine(args); err != nil {
		return err
	}
	r, err := c.Exec(ctx, flags.exec(args))
	if err != nil {
		return exit.NotRun(err)
	}
	if err := t.pass(r); err != nil {
		return err
	}
	return exit.OfCommand(r.ExitCode)
}
