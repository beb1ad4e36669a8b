package main

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/framing/client"
)

// statCommand returns wick stat.
func (t *tool) statCommand() *cobra.Command {
	var follow bool
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "stat [-L] PATH...",
		Short: "Show mode, owner, size and times of files in the guest",
		Long: `Show type and mode, owner, size, links, inode and time of files in the guest. For a
symbolic link they are its own, with its target. With -L they are those of its target.

The fields of --json are path, name, type (file, dir, symlink, char, block, fifo, socket),
mode (octal), uid, gid, size, links, inode, modified, target and device.`,
		Args:              needs("PATH..."),
		ValidArgsFunction: t.completePaths,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			look := c.Lstat
			if follow {
				look = c.Stat
			}
			for _, name := range args {
				info, err := look(ctx, name)
				if err != nil {
					return err
				}
				if f.JSON || f.Format != "" {
					err = output.List(t.stdout, &f, []fileLine{newFileLine(name, info)}, nil, nil)
				} else {
					err = t.stat(name, info)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "")
	cmd.Flags().BoolVarP(&follow, "dereference", "L", false, "follow symbolic links")
	return cmd
}

func (t *tool) stat(name string, i *client.FileInfo) error {
	if i.Mode()&fs.ModeSymlink != 0 {
		name += " -> " + i.Target()
	}
	if terminal.Is(t.stdout) {
		name = output.Printable(name)
	}
	device := ""
	if i.Mode()&fs.ModeDevice != 0 {
		major, minor := i.Device()
		device = fmt.Sprintf(" device=%d,%d", major, minor)
	}
	_, err := fmt.Fprintf(t.stdout, "%s\n  %s (%04o) uid=%d gid=%d size=%d links=%d inode=%d%s\n  modified %s\n",
		name, modeString(i.Mode()), modeBits(i.Mode()), i.UID(), i.GID(), i.Size(), i.Links(), i.Inode(), device, i.ModTime().Format(time.RFC3339Nano))
	return err
}
