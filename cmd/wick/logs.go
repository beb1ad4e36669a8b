package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/framing/client"
)

// logFlags has the flags of wick logs.
type logFlags struct {
	follow, times, console bool
	tail, since, until     string
}

// logLines selects lines of a log.
type logLines struct {
	tail         int // how many of the last lines; negative for all
	since, until time.Time
	follow       bool
}

// logsCommand returns wick logs.
func (t *tool) logsCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs [flags] MACHINE | [MACHINE] ID",
		Short: "Show the output of a machine's command",
		Long: `Show the output of the command of a machine of wick run -d: the last 8 to 16 MiB of it, on
stdout and stderr as it was written. The host keeps it until wick rm.

With ID it is the output of a command in the guest of the machine, or of --to, which was
started with --keep or --detach. The guest holds up to 64 KiB of each of its outputs. The
command stays with the wick that has it, and is not held up. A later wick attach gets the
same output.

A time of --since and --until is a time ago such as 10m, or a date as in RFC 3339.`,
		Example: `  wick logs web
  wick logs -f --tail 20 web
  wick logs web 5f3a`,
		Args:              t.needsID,
		ValidArgsFunction: t.completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(time.Now())
			if err != nil {
				return exit.Usage(err)
			}
			args = t.takeMachineOfID(cmd, args)
			if t.to == "" {
				return t.machineLogs(cmd.Context(), &f, o, args[0])
			}
			if f.times || f.console || f.since != "" || f.until != "" || f.follow && o.tail >= 0 {
				return exit.Usage(errors.New("logs: the guest only has -f, or --tail, for a command's output"))
			}
			return t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
				return t.heldLogs(ctx, c, o, args[0])
			})(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what the command writes")
	flags.StringVarP(&f.tail, "tail", "n", "all", "show only the last `N` lines")
	flags.StringVar(&f.since, "since", "", "show what was written after this `TIME`")
	flags.StringVar(&f.until, "until", "", "show what was written before this `TIME`")
	flags.BoolVarP(&f.times, "timestamps", "t", false, "begin each line with its time")
	flags.BoolVar(&f.console, "console", false, "show the machine's console instead")
	return cmd
}

// options returns the lines that the flags select.
func (f *logFlags) options(now time.Time) (o logLines, err error) {
	o = logLines{tail: -1, follow: f.follow}
	if f.tail != "all" {
		if o.tail, err = strconv.Atoi(f.tail); err != nil || o.tail < 0 {
			return o, fmt.Errorf("--tail %q: want a number of lines, or all", f.tail)
		}
	}
	if o.since, err = logTime("--since", f.since, now); err == nil {
		o.until, err = logTime("--until", f.until, now)
	}
	return o, err
}

// logTime parses a time ago, a number of seconds since 1970, or a date.
func logTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if unix, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(unix, 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q: want a time ago such as 10m, or a date such as 2026-01-31T12:00:00", flag, s)
}

// heldLogs shows the output that the guest holds of a command.
func (t *tool) heldLogs(ctx context.Context, c *client.Client, lines logLines, id string) error {
	p, err := findProcess(ctx, c, id)
	if err != nil {
		return err
	}
	o := client.LookOptions{Follow: lines.follow, Stdout: t.stdout, Stderr: t.stderr}
	var last [2]lastLines
	if lines.tail >= 0 {
		o.Stdout, o.Stderr = &last[0], &last[1]
	}
	missed, err := c.Look(ctx, p.ID, o)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	for i, to := range []io.Writer{t.stdout, t.stderr} {
		if _, err := to.Write(last[i].cut(lines.tail)); err != nil {
			return err
		}
	}
	if missed > 0 && lines.tail < 0 {
		fmt.Fprintf(t.stderr, "wick: %d bytes of older output were dropped\n", missed)
	}
	return nil
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
