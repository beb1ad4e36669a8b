package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// logsCommand returns wick logs.
func (t *tool) logsCommand() *cobra.Command {
	var follow bool
	tail := -1
	cmd := &cobra.Command{
		Use:   "logs [-f | --tail N] ID|NAME",
		Short: "Show the output of a command that is kept in the guest",
		Long: `Show the output that the guest still holds of a command that was started with --keep or
--detach: up to 64 KiB of each of stdout and stderr. With -f wick goes on with what the
command writes, until it ends. The command stays with the wick that has it, and is not held
up. A later wick attach gets the same output.

ID is the one that wick exec --detach printed and wick ps shows, or an unambiguous
beginning of it. NAME is a service, which wick services lists.`,
		Example: `  wick logs 5f3a
  wick logs -f "$id"`,
		Args:              needs("ID|NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			if follow && tail >= 0 {
				return usageError(errors.New("logs: -f and --tail exclude each other"))
			}
			p, err := findProcess(ctx, c, args[0])
			if err != nil {
				return err
			}
			o := client.LookOptions{Follow: follow, Stdout: t.stdout, Stderr: t.stderr}
			var last [2]lastLines
			if tail >= 0 {
				o.Stdout, o.Stderr = &last[0], &last[1]
			}
			missed, err := c.Look(ctx, p.ID, o)
			if err != nil && !errors.Is(err, syscall.EPIPE) {
				return err
			}
			for i, to := range []io.Writer{t.stdout, t.stderr} {
				if _, err := to.Write(last[i].cut(tail)); err != nil {
					return err
				}
			}
			if missed > 0 && tail < 0 {
				fmt.Fprintf(t.stderr, "wick: %d bytes of older output were dropped\n", missed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what the command writes")
	cmd.Flags().IntVarP(&tail, "tail", "n", -1, "show only the last `N` lines of each output")
	return cmd
}

// lastLines collects an output, of which the guest holds little.
type lastLines struct{ bytes.Buffer }

// cut returns the last n lines.
func (l *lastLines) cut(n int) []byte {
	b := l.Bytes()
	end := len(b)
	if end > 0 && b[end-1] == '\n' {
		end--
	}
	for at := end; n > 0; n-- {
		if at = bytes.LastIndexByte(b[:at], '\n'); at < 0 || n == 1 {
			return b[at+1:]
		}
	}
	return nil
}
