package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/copying"
	"wick/cmd/wick/internal/exit"
)

// cpCommand returns wick cp.
func (t *tool) cpCommand() *cobra.Command {
	cp := copying.Copier{Stdin: t.stdin, Stdout: t.stdout, Stderr: t.stderr}
	cmd := &cobra.Command{
		Use:   "cp [-a | --chown OWNER] SOURCE TARGET",
		Short: "Copy files and directories into the guest, or out of it",
		Long: `Copy a file, or a directory with everything in it, into the guest or out of it. A path in
a machine of wick run -d is MACHINE:PATH, and one in the guest that --to names is :PATH.
Write ./ before a local path that has a colon.

If TARGET is an existing directory, the copy is made in it. Otherwise TARGET is the name
of the copy. If SOURCE ends in /. only the contents of the directory are copied, into
TARGET. The copy keeps modes, times, symbolic and hard links, holes and extended
attributes. With -a it keeps owners, by number. Without -a the copy belongs to the user
that writes it, and a file loses its set-user-ID and set-group-ID bits and its
capabilities. --chown gives the copy to another user, named as on the side that is
written. A file is replaced in one step. wick reports what it leaves out, such as sockets.

If SOURCE is - a tar is read from stdin and unpacked into TARGET. It may be compressed by
gzip, zstd, xz or bzip2. If TARGET is - a tar of SOURCE is written to stdout, with holes in
GNU tar's format. No program is needed in the guest.

Symbolic links to directories in TARGET are followed if they stay inside it. A link that
leads out is an error.`,
		Example: `  wick cp app.conf web:/etc/app.conf
  wick cp ./src :/srv
  wick cp :/var/log/. ./logs
  wick cp :/srv - | tar -tv
  git archive HEAD | wick cp --chown www-data - :/srv/app`,
		Args:              needs("SOURCE", "TARGET"),
		ValidArgsFunction: t.completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.cp(cmd.Context(), &cp, args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&cp.Owners, "archive", "a", false, "keep owners, by number, set-ID bits and all attributes")
	cmd.Flags().StringVar(&cp.Chown, "chown", "", "give the copy to this `OWNER`: USER[:GROUP], each a name or a number")
	return cmd
}

// cp copies source to target.
func (t *tool) cp(ctx context.Context, cp *copying.Copier, source, target string) error {
	from, out := t.guestPath(source)
	to, in := t.guestPath(target)
	switch {
	case in == out:
		return exit.Usage(errors.New("cp: either SOURCE or TARGET must be in the guest: MACHINE:PATH, or :PATH with --to"))
	case cp.Owners && cp.Chown != "":
		return exit.Usage(errors.New("cp: -a keeps owners and --chown changes them; leave one of them out"))
	case cp.Chown != "" && to == "-":
		return exit.Usage(errors.New("cp: --chown cannot be used with a tar on stdout"))
	case from == "" || to == "":
		return exit.Usage(errors.New("cp: a path is empty"))
	}
	// A missing SOURCE is reported without a guest.
	if in && from != "-" {
		if _, err := os.Stat(from); err != nil {
			return err
		}
	}
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	cp.Guest, cp.Name = c, source
	if in {
		return cp.Into(ctx, from, to)
	}
	return cp.OutOf(ctx, from, to)
}

// guestPath returns the path of an argument, and whether it is in the guest.
func (t *tool) guestPath(arg string) (path string, guest bool) {
	if path, guest = strings.CutPrefix(arg, ":"); guest || t.to != "" && !strings.HasPrefix(t.to, machineForm) {
		return path, guest
	}
	name, path, found := strings.Cut(arg, ":")
	if !found || !isMachineName(name) {
		return arg, false
	}
	t.to = machineForm + name
	return path, true
}
