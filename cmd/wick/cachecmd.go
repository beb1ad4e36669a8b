//go:build linux

package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/units"
)

// cacheCommand returns wick cache.
func (t *tool) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show and prune the cache of images and kernels",
		Long: `The cache is the directory wick in $XDG_CACHE_HOME, or in ~/.cache. It has the layers of
container images, root images, kernels and other files that are costly to make.

It is bounded to 10G, or to $WICK_CACHE_SIZE, such as 2G. When something is added, the least
recently used entries go. Those of running machines stay.`,
	}
	cmd.AddCommand(t.cacheDuCommand(), t.cachePruneCommand())
	return cmd
}

// kindNames says what the kinds of the cache's entries are.
var kindNames = map[string]string{
	"blob": "layers of images", "image": "records of images", "oci": "roots of images", "root": "other roots",
	"debian": "Debian packages", "vmlinux": "kernels", "initramfs": "initramfs", "trial": "answers about KVM",
}

// kindLine has the figures of a kind of entries, as wick cache du --json prints them.
type kindLine struct {
	Kind    string `json:"kind"`
	Entries int    `json:"entries"`
	Size    int64  `json:"size"`
}

func (t *tool) cacheDuCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "du",
		Short: "Show how much space the cache takes",
		Long: `Show how much space the cache takes on disk, by kinds of entries. With --json it is one
object: limit and size in bytes, and kinds with kind, entries and size.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			entries, err := dir.Entries()
			if err != nil {
				return err
			}
			limit, _ := cache.Limit() // cacheDir has checked it
			total := kindLine{Kind: "total"}
			kinds := []kindLine{}
			at := map[string]int{}
			for _, e := range entries {
				if _, ok := at[e.Kind]; !ok {
					at[e.Kind] = len(kinds)
					kinds = append(kinds, kindLine{Kind: e.Kind})
				}
				for _, line := range []*kindLine{&kinds[at[e.Kind]], &total} {
					line.Entries++
					line.Size += e.Size
				}
			}
			if asJSON {
				return output.JSON(t.stdout, map[string]any{"limit": limit, "size": total.Size, "kinds": kinds})
			}
			w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KIND\tENTRIES\tSIZE\tCONTENT")
			for _, line := range append(kinds, total) {
				content := kindNames[line.Kind]
				if line.Kind == "total" {
					content = "at most " + units.ShortBytes(uint64(limit))
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", line.Kind, line.Entries, units.ShortBytes(uint64(line.Size)), content)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (t *tool) cachePruneCommand() *cobra.Command {
	var all bool
	var size string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove the least recently used entries of the cache",
		Long: `Remove the least recently used entries until the cache has at most --size, or its limit, and
what killed processes have left there. With --all everything goes that is not in use.`,
		Example: `  wick cache prune --size 2G
  wick cache prune --all`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if all && size != "" {
				return exit.Usage(errors.New("cache prune: --all or --size, not both"))
			}
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			limit, err := cache.Limit()
			if all {
				limit = 0
			} else if size != "" {
				limit, err = cache.ParseSize(size)
			}
			if err != nil {
				return exit.Usage(fmt.Errorf("--size: %w", err))
			}
			removed, err := dir.Prune(limit)
			if err != nil {
				return err
			}
			freed := int64(0)
			for _, e := range removed {
				freed += e.Size
			}
			_, err = fmt.Fprintf(t.stdout, "removed %d entries, %s\n", len(removed), units.ShortBytes(uint64(freed)))
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove everything that is not in use")
	cmd.Flags().StringVar(&size, "size", "", "`SIZE` that may be left, such as 2G")
	return cmd
}
