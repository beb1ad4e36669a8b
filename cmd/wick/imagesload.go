//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/terminal"
)

// loadCommand returns wick load.
func (t *tool) loadCommand() *cobra.Command {
	var platformText, input string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [flags]",
		Short: "Put the images of an archive into the cache",
		Long: `Put the images of an archive into the cache, under the names that it gives them. The archive
is one of docker save, podman save or wick save, or of an OCI layout, compressed or not. It
is read from stdin without -i. wick run then takes the names, and asks no registry.

An archive with an image for several platforms gives the one of --platform.`,
		Example: `  docker save app:v1 | wick load
  wick load -i app.tar.gz`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, _, err := settlePlatform(platformText, "")
			if err != nil {
				return exit.Usage(err)
			}
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			if input == "" {
				if t.keyboard() != nil {
					return exit.Usage(errors.New("load: stdin is a terminal; give an archive by -i FILE"))
				}
				spooled, err := spool(t.stdin)
				if err != nil {
					return fmt.Errorf("read the archive: %w", err)
				}
				defer spooled.Close()
				input = fmt.Sprintf("/proc/self/fd/%d", spooled.Fd())
			}
			err = (&oci.Store{Dir: dir}).Load(cmd.Context(), input, p, func(r *oci.Record) {
				if quiet {
					return
				}
				fmt.Fprintf(t.stdout, "loaded %s (%s)\n", r, r.Platform)
			})
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			return nil
		},
	}
	addPlatform(cmd, &platformText)
	cmd.Flags().StringVarP(&input, "input", "i", "", "read this `FILE` instead of stdin")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return cmd
}

// spool copies an archive, which is read several times, to a file without a name.
func spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "wick-load-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// saveCommand returns wick save.
func (t *tool) saveCommand() *cobra.Command {
	var platformText, output string
	cmd := &cobra.Command{
		Use:   "save [flags] IMAGE...",
		Short: "Write images of the cache to an archive",
		Long: `Write images of the cache to an archive in the form of docker save, which docker load, podman
load and wick load take. It is written to stdout without -o.`,
		Example: `  wick save -o app.tar app:v1
  wick save app:v1 | ssh HOST wick load`,
		Args:              needs("IMAGE..."),
		ValidArgsFunction: completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := settlePlatform(platformText, "")
			if err != nil {
				return exit.Usage(err)
			}
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			sources := make([]*oci.Source, len(args))
			for i, arg := range args {
				if sources[i], err = oci.ParseSource(arg); err != nil {
					return exit.Usage(err)
				}
			}
			write := func(w io.Writer) error {
				return (&oci.Store{Dir: dir}).Save(cmd.Context(), sources, p, w)
			}
			if output != "" {
				return writeWhole(output, write)
			}
			if terminal.Is(t.stdout) {
				return exit.Usage(errors.New("save: stdout is a terminal; give a file by -o FILE"))
			}
			return write(t.stdout)
		},
	}
	addPlatform(cmd, &platformText)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write this `FILE` instead of stdout")
	return cmd
}

// writeWhole has a file written as a whole. A failure leaves what was there before.
func writeWhole(path string, write func(io.Writer) error) error {
	tmp := path + ".part"
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		tmp = path // such as /dev/null
	}
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	switch {
	case tmp == path:
	case err == nil:
		err = os.Rename(tmp, path)
	default:
		os.Remove(tmp)
	}
	return err
}
