//go:build linux

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/units"
)

// volumeCommand returns wick volume.
func (t *tool) volumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "List and remove the disks that have names",
		Long: `List and remove the disks that wick run --disk NAME:PATH and -v NAME:PATH have made. They
stay when a machine is removed, and one machine at a time can use each.`,
	}
	cmd.AddCommand(t.volumeListCommand(), &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Remove disks, with all that is on them",
		Args:              needs("NAME..."),
		ValidArgsFunction: completeDisks,
		RunE: t.eachName(func(_ context.Context, s keeper.Store, name string) error {
			return s.RemoveDisk(name)
		}),
	})
	return cmd
}

func (t *tool) volumeListCommand() *cobra.Command {
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the disks that have names",
		Long: `List the disks that have names. SIZE is what the guest can write, and USED what the disk
takes on this host. The fields of --json are name, path, size and used in bytes, and busy.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			s, err := keeper.Default()
			if err != nil {
				return err
			}
			list, err := s.Disks()
			if err != nil {
				return err
			}
			return output.List(t.stdout, &f, list, func(d keeper.DiskInfo) string { return d.Name }, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tSIZE\tUSED\tSTATE\tPATH")
				for _, d := range list {
					state := "free"
					if d.Busy {
						state = "in use"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, units.ShortBytes(uint64(d.Size)), units.ShortBytes(uint64(d.Used)), state, d.Path)
				}
			})
		},
	}
	f.Add(cmd, "names")
	return cmd
}

// completeDisks completes the names of disks.
func completeDisks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if s, err := keeper.Default(); err == nil {
		list, _ := s.Disks()
		for _, d := range list {
			names = append(names, d.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
