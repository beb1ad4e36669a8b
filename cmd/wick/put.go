package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/copying"
	"wick/framing/client"
)

// putCommand returns wick put.
func (t *tool) putCommand() *cobra.Command {
	var o client.WriteFileOptions
	cmd := &cobra.Command{
		Use:   "put LOCAL GUEST",
		Short: "Write a file in the guest",
		Long: `Write the file LOCAL to the path GUEST in the guest. LOCAL may be - for stdin, which is read
to its end first. A file may have 16 MiB, less a few bytes and the length of its path; wick
cp copies files of any size.

Missing directories are made. The file is replaced in one step: if wick fails or is
interrupted, the old file is unchanged. The new one keeps its mode and owner.

With --append the content is added at the end of the file, once it has arrived in full.`,
		Example: `  wick put app.conf /etc/app.conf
  tar -c src | wick put - /tmp/src.tar
  wick put --sudo hosts /etc/hosts
  echo '10.0.2.2 host' | wick put --append - /etc/hosts`,
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
	cmd.Flags().BoolVar(&o.Append, "append", false, "add to the file instead of replacing it")
	cmd.Flags().BoolVar(&o.Root, "sudo", false, "write as root, through sudo -n unless the agent is root")
	return cmd
}

// put writes the local file to the guest's path.
func (t *tool) put(ctx context.Context, local, path string, o client.WriteFileOptions) error {
	// A missing file is reported without a guest.
	file, err := t.openLocal(ctx, local, client.MaxContent(path))
	if err != nil {
		return err
	}
	defer file.content.Close()
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bar := copying.NewBar(t.stderr, local, file.size)
	err = c.WriteFile(ctx, path, bar.Reader(file.content), file.size, o)
	bar.Clear()
	return err
}

// localFile is the content to send.
type localFile struct {
	content io.ReadCloser
	size    int64
}

// openLocal opens the content to send, which may have limit bytes at most. It stops waiting for a
// terminal or a pipe when ctx ends.
func (t *tool) openLocal(ctx context.Context, name string, limit int64) (*localFile, error) {
	type opened struct {
		file *localFile
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		var o opened
		if name == "-" {
			o.file, o.err = gather("stdin", t.stdin, limit)
		} else {
			o.file, o.err = openFile(name, limit)
		}
		done <- o
	}()
	select {
	case o := <-done:
		return o.file, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// openFile opens the local file name, which may have limit bytes at most.
func openFile(name string, limit int64) (*localFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a directory; wick cp copies it", name)
	case !info.Mode().IsRegular():
		// The size of a pipe or a device is unknown.
		defer f.Close()
		return gather(name, f, limit)
	case info.Size() > limit:
		err = tooLarge(name, limit)
	default:
		return &localFile{f, info.Size()}, nil
	}
	f.Close()
	return nil, err
}

// gather reads all of r, because its size must be known.
func gather(name string, r io.Reader, limit int64) (*localFile, error) {
	all, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(all)) > limit {
		return nil, tooLarge(name, limit)
	}
	return &localFile{io.NopCloser(bytes.NewReader(all)), int64(len(all))}, nil
}

func tooLarge(name string, limit int64) error {
	return fmt.Errorf("%s is too large: a frame with this path holds %d bytes; wick cp sends files of any size", name, limit)
}
