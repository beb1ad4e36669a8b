//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/units"
)

// shortID is how many digits of an ID the tables show, as docker's.
const shortID = 12

// pullCommand returns wick pull.
func (t *tool) pullCommand() *cobra.Command {
	var platformText string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull [flags] IMAGE...",
		Short: "Fetch container images into the cache",
		Long: `Fetch container images from their registries into the cache, and print their digests.

IMAGE is [REGISTRY/]NAME[:TAG] or [REGISTRY/]NAME@sha256:DIGEST. Without REGISTRY it is one
of Docker Hub, and without TAG the one tagged latest. The credentials are those of docker's
configuration, or podman's, with their credential helpers. A registry on this host may
speak plain HTTP. SSL_CERT_FILE names a file with the certificates of other authorities.

Layers are kept by their digests, and one that is in the cache is not fetched again. A layer
whose connection is cut goes on where it was cut. On a terminal the progress is shown.`,
		Example: `  wick pull alpine:3.20
  wick pull --platform linux/arm64 registry.example:5000/team/app`,
		Args:              needs("IMAGE..."),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := settlePlatform(platformText, "")
			if err != nil {
				return exit.Usage(err)
			}
			sources := make([]*oci.Source, len(args))
			for i, arg := range args {
				if sources[i], err = oci.ParseSource(arg); err == nil && !sources[i].Remote() {
					err = fmt.Errorf("pull %s: not in a registry; wick run takes it as it is", arg)
				}
				if err != nil {
					return exit.Usage(err)
				}
			}
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			ui := &runUI{w: t.stderr, live: terminal.Is(t.stderr) && !quiet}
			defer ui.end()
			store := ui.store(dir)
			if quiet {
				store.Pulled = nil
			}
			for _, src := range sources {
				img, err := store.Open(cmd.Context(), src, p, oci.Always)
				if err == nil {
					err = img.Fetch(cmd.Context())
				}
				if err != nil {
					return err
				}
				ui.pause()
				fmt.Fprintf(t.stdout, "%s %s\n", src, img.Digest)
			}
			return nil
		},
	}
	addPlatform(cmd, &platformText)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// cacheDir returns the user's cache, after a check of its limit.
func cacheDir() (cache.Dir, error) {
	if _, err := cache.Limit(); err != nil {
		return "", exit.Usage(err)
	}
	return cache.Default()
}

// imageLine is an image as wick images --json prints it.
type imageLine struct {
	Repository string            `json:"repository"`
	Tag        string            `json:"tag,omitempty"`
	Digest     string            `json:"digest"`
	ID         string            `json:"id"`
	Platform   string            `json:"platform"`
	Created    *time.Time        `json:"created,omitempty"`
	Pulled     time.Time         `json:"pulled"`
	Size       int64             `json:"size"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// imagesCommand returns wick images.
func (t *tool) imagesCommand() *cobra.Command {
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "images [flags] [NAME[:TAG]]",
		Short: "List the container images that were pulled",
		Long: `List the container images that were pulled, the newest pull first; with NAME those of it.

IMAGE ID is the digest of the image's configuration, as in docker. SIZE is that of the
packed layers. With --json each line is an object with repository, tag, digest, id,
platform, created, pulled, size in bytes, and labels.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			all, err := (&oci.Store{Dir: dir}).Records()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				all = slices.DeleteFunc(all, func(r *oci.Record) bool {
					repository, _ := r.Repository()
					return args[0] != repository && args[0] != r.String()
				})
			}
			return t.printImages(all, &f)
		},
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "IMAGE IDs")
	cmd.Flags().BoolP("all", "a", false, "accepted: all are shown")
	return cmd
}

func (t *tool) printImages(all []*oci.Record, f *output.Flags) error {
	lines := make([]imageLine, len(all))
	for i, r := range all {
		repository, tag := r.Repository()
		lines[i] = imageLine{repository, tag, r.Digest, r.ID().String(), r.Platform, nil, r.Pulled, r.Size(), r.Labels()}
		if created := r.Created(); !created.IsZero() {
			lines[i].Created = &created
		}
	}
	short := func(l imageLine) string {
		_, hex, _ := strings.Cut(l.ID, ":")
		return hex[:shortID]
	}
	return output.List(t.stdout, f, lines, short, func(w io.Writer) {
		fmt.Fprintln(w, "REPOSITORY\tTAG\tIMAGE ID\tPLATFORM\tCREATED\tSIZE")
		for _, l := range lines {
			age := "-"
			if l.Created != nil && l.Created.Unix() > 0 {
				age = units.ShortTime(time.Since(*l.Created)) + " ago"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Repository, cmp.Or(l.Tag, "<none>"), short(l), l.Platform, age, units.ShortBytes(uint64(l.Size)))
		}
	})
}

// rmiCommand returns wick rmi.
func (t *tool) rmiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rmi IMAGE...",
		Short: "Remove container images from the cache",
		Long: `Remove container images from the cache, for all their platforms. IMAGE is a name, or the
first digits of an IMAGE ID, at least 4. Layers and root images that another image needs
stay. A machine that runs keeps its root image until it ends.`,
		Args:              needs("IMAGE..."),
		ValidArgsFunction: completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			return (&oci.Store{Dir: dir}).Remove(args, func(r *oci.Record) {
				fmt.Fprintf(t.stdout, "removed %s (%s)\n", r, r.Platform)
			})
		},
	}
	cmd.Flags().BoolP("force", "f", false, "accepted: a machine that runs never keeps an image from removal")
	return cmd
}

// completeImages completes the names of pulled images.
func completeImages(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	dir, err := cache.Default()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := (&oci.Store{Dir: dir}).Records() // without them there is nothing to complete
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.String()
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
