package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// catCommand returns wick cat.
func (t *tool) catCommand() *cobra.Command {
	var offset, length int64
	cmd := &cobra.Command{
		Use:   "cat [--offset N] [--length N] PATH...",
		Short: "Print files from the guest",
		Long: `Print files from the guest to stdout. They may be of any size. Each is printed from the
offset, and up to the length. No program is needed in the guest.`,
		Example: `  wick cat /proc/meminfo
  wick cat --offset 0 --length 512 /dev/vda | xxd`,
		Args:              needs("PATH..."),
		ValidArgsFunction: t.completePaths,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			for _, name := range args {
				if err := t.cat(ctx, c, name, offset, length); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().Int64Var(&offset, "offset", 0, "start at this byte")
	cmd.Flags().Int64Var(&length, "length", 0, "print at most this many bytes; 0 for all")
	return cmd
}

func (t *tool) cat(ctx context.Context, c *client.Client, name string, offset, length int64) error {
	r, err := c.OpenRead(ctx, name, offset, length)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(t.stdout, r)
	return err
}
