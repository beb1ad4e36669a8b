package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// mountCommand returns wick mount.
func (t *tool) mountCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "mount [--wait TIME] SOURCE:TARGET:TYPE[:OPTIONS]",
		Short: "Mount a volume in the guest",
		Long: `Mount a volume in the guest. The words are those of vm-init's --mount: SOURCE is the path of
a device, serial:TEXT, uuid:UUID or label:TEXT, the tag of a virtiofs or 9p, or the path to
bind. TYPE is ext4, squashfs, erofs, tmpfs, virtiofs, 9p or bind. TARGET is made if it is
missing. The volume is unmounted on the machine's way down.

With --wait the device may still be on its way.`,
		Example: `  wick mount --wait 10s serial:data:/srv/data:ext4:nodev,grow
  wick mount models:/models:virtiofs:ro`,
		Args:              needs("SOURCE:TARGET:TYPE[:OPTIONS]"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			mounted, err := c.Mount(ctx, args[0], wait)
			if mounted && err != nil {
				return fmt.Errorf("mounted, but %w", err)
			}
			return err
		}),
	}
	cmd.Flags().Var(units.Time(&wait, 0), "wait", "time for the device to appear")
	return cmd
}

// umountCommand returns wick umount.
func (t *tool) umountCommand() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount [--lazy] TARGET",
		Short: "Unmount a volume in the guest",
		Long: `Write what is dirty and unmount the last volume at TARGET in the guest. If it is busy, the
error names the processes that use it. With --lazy a busy volume is detached: no path leads
to it any more, and it is unmounted when its last user is gone.`,
		Args:              needs("TARGET"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			return c.Unmount(ctx, args[0], lazy)
		}),
	}
	cmd.Flags().BoolVar(&lazy, "lazy", false, "detach a busy volume")
	return cmd
}

// diskCommand returns wick disk.
func (t *tool) diskCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "Show, trim or grow the guest's disks",
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the guest's disks",
		Long: `Show the guest's block devices, with their sizes in bytes, serials, file systems and mounts.
ro is a device that cannot be written, trim one that takes back blocks, and root the one
that has what the root writes. --json prints one object of texts.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			facts, err := c.Disks(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				object := map[string]string{}
				for _, f := range facts {
					object[f.Name] = f.Value
				}
				return output.JSON(t.stdout, object)
			}
			w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
			for _, f := range facts {
				fmt.Fprintf(w, "%s\t%s\n", output.Printable(f.Name), output.Printable(f.Value))
			}
			return w.Flush()
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print one object of JSON")
	cmd.AddCommand(show, t.bytesCommand(&cobra.Command{
		Use:   "trim [PATH]",
		Short: "Give unused blocks of the guest's disks back to the host",
		Long: `Give the blocks that the file system of PATH does not use back to the host, and print their
bytes. Without PATH it is every disk that is mounted. The host's file becomes smaller if its
monitor takes trims: QEMU does with discard=unmap, as wick run sets it. Firecracker does not.`,
	}, (*client.Client).Trim), t.bytesCommand(&cobra.Command{
		Use:   "grow [PATH]",
		Short: "Grow the guest's ext4 file systems to their devices",
		Long: `Resize the ext4 of PATH to its device while it is mounted, and print its size in bytes.
Without PATH it is every ext4, and the sum. First make the device larger, in Firecracker by
PATCH /drives.`,
	}, (*client.Client).Grow))
	return cmd
}

// bytesCommand completes a command with an optional PATH that prints a number.
func (t *tool) bytesCommand(cmd *cobra.Command, do func(*client.Client, context.Context, string) (uint64, error)) *cobra.Command {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		bytes, err := do(c, ctx, path)
		if err == nil {
			fmt.Fprintln(t.stdout, bytes)
		}
		return err
	})
	return cmd
}
