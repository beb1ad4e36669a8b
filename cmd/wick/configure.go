package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// maxConfiguration limits a configuration and a secret that are read here, in bytes. The guest
// takes a little less.
const maxConfiguration = 256 << 10

// configureCommand returns wick configure.
func (t *tool) configureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "configure [FILE]",
		Short: "Set options of the guest",
		Long: `Set options of the guest from FILE, or from stdin without FILE or with -. The options are
those of vm-init (see configuration.md), one a line, as name=value. They win over those of the
image, the configuration drive and the kernel's command line.

A line that is wrong, or that has an effect at the start alone, keeps no other line from taking
effect. The error lists all of them, and the exit code is 1.

A workload with workload-wait=configure starts after the first configuration without such a
line. The text may be empty.`,
		Example: `  wick configure machine.conf
  printf 'command-user=app\ncommand-limit=nofile=4096\n' | wick configure`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%s: one argument too many: %q", cmd.Name(), args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			text, err := t.readLocal(cmd.Context(), name)
			if err != nil {
				return err
			}
			return t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
				return c.Configure(ctx, string(text))
			})(cmd, nil)
		},
	}
}

// readLocal reads a small local file, or stdin for "-".
func (t *tool) readLocal(ctx context.Context, name string) ([]byte, error) {
	file, err := t.openLocal(ctx, name, maxConfiguration)
	if err != nil {
		return nil, err
	}
	defer file.content.Close()
	return io.ReadAll(file.content)
}

// secretCommand returns wick secret.
func (t *tool) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Set, list or remove secrets of the guest's commands",
	}
	cmd.AddCommand(t.secretSetCommand(), t.secretListCommand(), t.secretRemoveCommand())
	return cmd
}

func (t *tool) secretSetCommand() *cobra.Command {
	var file, mode string
	var s client.Secret
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Set a secret from a file or from stdin",
		Long: `Set the secret NAME, or replace it. Its value is read from stdin, or from the file that --file
names, and taken byte by byte, with a newline at its end.

The secret is the file /run/secrets/NAME in the guest, on a file system in memory. With --env it is
an entry of the environment of every command that starts later, and of the workload. The guest
forgets it when it goes down. No list, log or fact shows the value.`,
		Example: `  wick secret set tls.key --file server.key --owner www-data
  printf %s "$TOKEN" | wick secret set TOKEN --env`,
		Args:              needs("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			bits, err := strconv.ParseUint(mode, 8, 32)
			if err != nil || bits == 0 || bits > 0o777 {
				return &client.RequestError{Op: "secret set", Reason: fmt.Sprintf("mode %q is not an octal number from 1 to 777", mode)}
			}
			s.Name, s.Mode = args[0], fs.FileMode(bits)
			if s.Value, err = t.readLocal(cmd.Context(), file); err != nil {
				return err
			}
			return t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
				return c.SetSecret(ctx, s)
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&file, "file", "-", "read the value from `PATH`; - is stdin")
	cmd.Flags().BoolVar(&s.Env, "env", false, "make it an entry of the environment, not a file")
	cmd.Flags().StringVar(&mode, "mode", "0400", "permission `BITS` of the file, in octal")
	cmd.Flags().StringVar(&s.Owner, "owner", "", "`USER` that owns the file: name or uid, and :group (default the agent's own)")
	return cmd
}

// secretLine is a secret as wick secret list --json prints it.
type secretLine struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"`
}

func (t *tool) secretListCommand() *cobra.Command {
	var f output.Flags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the names of the guest's secrets",
		Long: `List the names of the guest's secrets. The fields of --json are name, kind, which is file or
environment, and of a file mode and owner.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			secrets, err := c.Secrets(ctx)
			if err != nil {
				return err
			}
			lines := make([]secretLine, len(secrets))
			for i, s := range secrets {
				lines[i] = secretLine{Name: s.Name, Kind: "environment"}
				if !s.Env {
					lines[i] = secretLine{s.Name, "file", fmt.Sprintf("%04o", s.Mode), s.Owner}
				}
			}
			return output.List(t.stdout, &f, lines, func(l secretLine) string { return l.Name }, func(w io.Writer) {
				for _, l := range lines {
					row := []string{output.Printable(l.Name), l.Kind, l.Mode, output.Printable(l.Owner)}
					if l.Kind == "environment" {
						row = row[:2]
					}
					fmt.Fprintln(w, strings.Join(row, "\t"))
				}
			})
		}),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "names")
	return cmd
}

func (t *tool) secretRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Have the guest forget secrets",
		Long:              `Have the guest forget secrets. Commands that run keep their environment.`,
		Args:              needs("NAME..."),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, names []string) error {
			for _, name := range names {
				if err := c.RemoveSecret(ctx, name); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
