package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/accounts"
	"wick/cmd/wick/internal/exit"
)

// shellCommand returns wick shell.
func (t *tool) shellCommand() *cobra.Command {
	flags := sessionFlags{stdin: true, tty: true}
	cmd := &cobra.Command{
		Use:   "shell [flags] [MACHINE]",
		Short: "Open a login shell in the guest",
		Long: `Open a login shell in a machine of wick run -d, or in the guest that --to names. It has a
terminal, and begins in the home directory of its user. It is the shell in the guest's
/etc/passwd, or sh if there is no usable one.

All keys go to the guest, and its terminal follows the size of yours. The exit code is the
shell's.`,
		Example: `  wick shell web
  wick shell --user postgres
  wick shell --keep 1h`,
		PreRunE:           func(*cobra.Command, []string) error { return flags.readEnvironment() },
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeMachines,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args = t.takeMachine(cmd, args); len(args) > 0 {
				return exit.Usage(fmt.Errorf("shell: one argument too many: %q", args[0]))
			}
			if t.keyboard() == nil {
				return exit.Usage(errors.New("shell needs a terminal as stdin; wick exec -i runs a shell without one"))
			}
			ctx := cmd.Context()
			c, err := t.connect(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			if ok, err := talks(ctx, c); err != nil || !ok {
				if err == nil {
					err = t.execOld(ctx, c, &flags, nil)
				}
				return err
			}
			user := accounts.LookUp(ctx, c, flags.user)
			shell, err := flags.command(c, []string{user.Shell, "-l"})
			if err != nil {
				return err
			}
			if user.Home != "" {
				if _, err := c.Stat(ctx, user.Home); err == nil {
					shell.Dir = user.Home
				}
				shell.Env = append([]string{"HOME=" + user.Home, "USER=" + user.Name, "LOGNAME=" + user.Name, "SHELL=" + user.Shell}, shell.Env...)
			}
			return t.newSession(shell, true, true).run(ctx)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&flags.user, "user", "", "log in as this `USER` of the guest: a name or a number")
	f.StringVar(&flags.keep, "keep", "", "keep the shell for this `TIME`, or forever, after its connection is lost")
	f.StringArrayVar(&flags.env, "env", nil, "add `NAME[=VALUE]` to the shell's environment, by default with this host's value; may be repeated")
	flags.confineFlags.add(cmd)
	return cmd
}
