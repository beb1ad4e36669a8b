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
	var o client.WriteFileOptions
	cmd := &cobra.Command{
		Use:   "put LOCAL GUEST",
		Short: "Write a file in the guest",
		Long: `Write the file LOCAL to the path GUEST in the guest. LOCAL may be - for stdin, which is read to
its end first. A file has at most 16 MiB, less a few bytes and the length of its path.

Missing directories are made. The file is replaced in one step: if wick fails or is
interrupted, the old one is still there whole. One that existed keeps its mode and owner.

With --append the content is added at the end of the file, once all of it has come.`,
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
	// The file comes first: the guest need not be woken for one that is not there.
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
	bar := newBar(t.stderr, local, file.size)
	err = c.WriteFile(ctx, path, bar.reader(file.content), file.size, o)
	bar.clear()
	return err
}

// localFile is what is to be sent.
type localFile struct {
	content io.ReadCloser
	size    int64
}

// openLocal opens what is to be sent, which may have limit bytes at most. It does not wait for a terminal or a pipe any longer
// than ctx lives.
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

// openFile opens the file of the given name.
func openFile(name string, limit int64) (*localFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
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
		return &localFile{f, info.Size()}, nil
	}
	f.Close()
	return nil, err
}

// gather reads all of r, to know its size.
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
	return fmt.Errorf("%s is too large: %d bytes is the most that fits a frame with this path (wick cp sends files of any size)", name, limit)
}
