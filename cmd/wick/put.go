package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// putCommand is "wick put".
func (t *tool) putCommand() *cobra.Command {
	var o client.WriteOptions
	cmd := &cobra.Command{
		Use:   "put LOCAL GUEST",
		Short: "Write a file in the guest",
		Long: `Write the file LOCAL to the path GUEST in the guest. LOCAL may be - for stdin, which is read to
its end first. A file has at most 16 MiB, less a few bytes and the length of its path.

Missing directories are made. The file is replaced in one step: if wick fails or is
interrupted, the old one is still there whole. One that existed keeps its mode and owner.`,
		Example: `  wick put app.conf /etc/app.conf
  tar -c src | wick put - /tmp/src.tar
  wick put --sudo hosts /etc/hosts`,
		Args: needs("LOCAL", "GUEST"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.put(cmd.Context(), args[0], args[1], o)
		},
	}
	cmd.Flags().BoolVar(&o.Sudo, "sudo", false, "write as root, through sudo -n unless the agent is root")
	return cmd
}

// put writes the local file to the guest's path.
func (t *tool) put(ctx context.Context, local, path string, o client.WriteOptions) error {
	// The file comes first: the guest need not be woken for one that is not there.
	content, size, err := t.openLocal(local, client.MaxContent(path))
	if err != nil {
		return err
	}
	defer content.Close()
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bar := newBar(t.stderr, local, size)
	err = c.WriteFile(ctx, path, bar.reader(content), size, o)
	bar.clear()
	return err
}

// openLocal opens what is to be sent and tells its size, which may be limit at most.
func (t *tool) openLocal(name string, limit int64) (io.ReadCloser, int64, error) {
	if name == "-" {
		return gather("stdin", t.stdin, limit)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a directory; put sends one file", name)
	case !info.Mode().IsRegular():
		// A pipe or a device does not know its size.
		defer f.Close()
		return gather(name, f, limit)
	case info.Size() > limit:
		err = tooLarge(name, limit)
	default:
		return f, info.Size(), nil
	}
	f.Close()
	return nil, 0, err
}

// gather reads all of r, to know its size.
func gather(name string, r io.Reader, limit int64) (io.ReadCloser, int64, error) {
	all, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(all)) > limit {
		return nil, 0, tooLarge(name, limit)
	}
	return io.NopCloser(bytes.NewReader(all)), int64(len(all)), nil
}

func tooLarge(name string, limit int64) error {
	return fmt.Errorf("%s is too large: %d bytes is the most that fits a frame with this path", name, limit)
}
