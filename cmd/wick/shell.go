package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// shellCommand is "wick shell".
func (t *tool) shellCommand() *cobra.Command {
	flags := sessionFlags{stdin: true, tty: true}
	cmd := &cobra.Command{
		Use:   "shell [flags]",
		Short: "Open a login shell in the guest",
		Long: `Open a login shell in the guest, on a terminal, in the home directory of its user: that
which the guest's /etc/passwd names, or sh where it names none that can be used.

All keys go to the guest, and the terminal's size follows. The exit code is the shell's.`,
		Example: `  wick shell
  wick shell --user postgres
  wick shell --keep 1h`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.keyboard() == nil {
				return usageError(errors.New("shell needs a terminal as stdin; wick exec -i runs a shell without one"))
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
	f.StringVar(&flags.user, "user", "", "log in as `USER`: a name or number of the guest's")
	f.StringVar(&flags.keep, "keep", "", "keep the shell for this `TIME`, or forever, if the connection is lost")
	f.StringArrayVar(&flags.env, "env", nil, "add `NAME=VALUE` to the shell's environment; may be repeated")
	return cmd
}

// guestUser is a user of the guest's.
type guestUser struct{ name, home, shell string }

// lookUpUser finds a user in the guest's /etc/passwd, by name or number; the agent's own if it is empty. Where it says nothing there is a shell
// all the same.
func lookUpUser(ctx context.Context, c *client.Client, user string) guestUser {
	user, _, _ = strings.Cut(user, ":")
	if user == "" {
		// What the agent is shows in what its own directory of /proc belongs to.
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

// maxPasswd is how much of /etc/passwd is looked at, in bytes, whatever the guest sends.
const maxPasswd = 1 << 20

// readPasswd is the guest's /etc/passwd, as far as it can be read.
func readPasswd(ctx context.Context, c *client.Client) string {
	return readSmall(ctx, c, "/etc/passwd")
}

// readSmall is the beginning of a file of the guest's, as far as it can be read.
func readSmall(ctx context.Context, c *client.Client, name string) string {
	r, err := c.OpenRead(ctx, name, 0, maxPasswd)
	if err != nil {
		return ""
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return string(b)
}

// passwdEntry is that of a user by name or number; passwd(5).
func passwdEntry(passwd, user string) guestUser {
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == 7 && (f[0] == user || f[2] == user) {
			return guestUser{f[0], f[5], f[6]}
		}
	}
	return guestUser{}
}
