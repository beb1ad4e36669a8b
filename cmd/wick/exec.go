package main

import (
	"github.com/spf13/cobra"
)

// execCommand is "wick exec".
func (t *tool) execCommand() *cobra.Command {
	var flags commandFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG]...",
		Short: "Run a command in the guest and pass on its output and exit code",
		Long: `Run a command in the guest, wait for it, and pass on its stdout, its stderr and its
exit code.

One COMMAND alone is a line for the guest's shell. With arguments it is a program, and
every argument reaches it as it is given. Stdin is /dev/null. Output comes when the
command has ended: up to 16 MiB, and a last line on stderr says if there was more.

The exit code is the command's: 124 if it ran out of time, 128+N if signal N killed it;
125 if the guest could not be reached or would not run it. If wick is interrupted the
command runs on, to its end or its timeout.`,
		Example: `  wick exec -- uname -a
  wick exec 'dmesg | tail -n 3'
  wick exec --timeout 30s --env LANG=C -- make -C /src test
  wick --to vsock:3:1000 exec --root -- mount -o remount,ro /data`,
		Args:              needs("COMMAND..."),
		ValidArgsFunction: cobra.NoFileCompletions, // the files here are not the guest's
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Exec(cmd.Context(), flags.exec(args))
			if err != nil {
				return commandFailed(err)
			}
			if err := t.pass(r); err != nil {
				return err
			}
			return commandExit(r.ExitCode)
		},
	}
	flags.add(cmd)
	return cmd
}
