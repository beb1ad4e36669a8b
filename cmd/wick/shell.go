package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/framing/client"
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
			user := lookUpUser(ctx, c, flags.user)
			shell, err := flags.command(c, []string{user.shell, "-l"})
			if err != nil {
				return err
			}
			if user.home != "" {
				if _, err := c.Stat(ctx, user.home); err == nil {
					shell.Dir = user.home
				}
				shell.Env = append([]string{"HOME=" + user.home, "USER=" + user.name, "LOGNAME=" + user.name, "SHELL=" + user.shell}, shell.Env...)
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

// guestUser is a user of the guest.
type guestUser struct{ name, home, shell string }

// lookUpUser finds a user in the guest's /etc/passwd by name or number, by default the agent's own.
// The shell is sh if the user has no usable one.
func lookUpUser(ctx context.Context, c *client.Client, user string) guestUser {
	user, _, _ = strings.Cut(user, ":")
	if user == "" {
		// The agent's directory in /proc belongs to the agent's user.
		self, err := c.Stat(ctx, "/proc/self")
		if err != nil {
			return guestUser{shell: "sh"}
		}
		user = strconv.FormatUint(uint64(self.UID()), 10)
	}
	found := passwdEntry(readPasswd(ctx, c), user)
	switch base := found.shell[strings.LastIndexByte(found.shell, '/')+1:]; base {
	case "", "nologin", "false", "sync", "shutdown", "halt":
		found.shell = "sh"
	}
	return found
}

// maxPasswd limits how much of /etc/passwd is read, in bytes.
const maxPasswd = 1 << 20

// readPasswd returns the guest's /etc/passwd, or "" on an error.
func readPasswd(ctx context.Context, c *client.Client) string {
	return readSmall(ctx, c, "/etc/passwd")
}

// readSmall returns the first maxPasswd bytes of a file in the guest, or less on an error.
func readSmall(ctx context.Context, c *client.Client, name string) string {
	r, err := c.OpenRead(ctx, name, 0, maxPasswd)
	if err != nil {
		return ""
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return string(b)
}

// passwdEntry returns the entry of a user in a passwd(5) file, by name or number.
func passwdEntry(passwd, user string) guestUser {
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == 7 && (f[0] == user || f[2] == user) {
			return guestUser{f[0], f[5], f[6]}
		}
	}
	return guestUser{}
}
