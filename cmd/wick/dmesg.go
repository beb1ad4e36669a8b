package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// kernelLevels has the names of the levels, as dmesg has them.
var kernelLevels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}

// dmesgCommand returns wick dmesg.
func (t *tool) dmesgCommand() *cobra.Command {
	var d dmesg
	var levels string
	cmd := &cobra.Command{
		Use:   "dmesg [-f] [--new] [--level LEVEL] [--json]",
		Short: "Print the guest kernel's log",
		Long: `Print the log of the guest's kernel, with the seconds since its boot. --follow prints further
records as they come, until interrupted. A line says so if the kernel overwrote records
before they could be sent.

LEVEL is emerg, alert, crit, err, warn, notice, info or debug. A list of levels prints
those, and a level with a + that one and the more urgent ones: warn+ prints all that went
wrong.

--json prints an object a line: level, facility, sequence, time (seconds), text, and lost
and dictionary if there are any.`,
		Example: `  wick dmesg --level warn+
  wick dmesg --follow --new --json`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if d.levels, err = parseKernelLevels(levels); err != nil {
				return exit.Usage(err)
			}
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return t.dmesg(cmd.Context(), c, &d)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&d.options.Follow, "follow", "f", false, "print further records as they come")
	flags.BoolVar(&d.options.New, "new", false, "leave out the records that the log has already")
	flags.StringVarP(&levels, "level", "l", "", "print the records of these `levels` alone")
	flags.BoolVar(&d.json, "json", false, "print each record as a line of JSON")
	cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(kernelLevels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// dmesg has the options of dmesg.
type dmesg struct {
	options client.KernelLogOptions
	levels  [8]bool // those that are printed
	json    bool
}

// parseKernelLevels parses a list of levels, such as "err,warn" or "warn+". An empty one has all.
func parseKernelLevels(list string) (levels [8]bool, err error) {
	if list == "" {
		list = "debug+"
	}
	for name := range strings.SplitSeq(list, ",") {
		name, urgent := strings.CutSuffix(name, "+")
		i := slices.Index(kernelLevels, name)
		if i < 0 {
			return levels, fmt.Errorf("dmesg: no level %q", name)
		}
		levels[i] = true
		for k := range i {
			levels[k] = levels[k] || urgent
		}
	}
	return levels, nil
}

func (t *tool) dmesg(ctx context.Context, c *client.Client, d *dmesg) error {
	for r, err := range c.KernelLog(ctx, d.options) {
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil // interrupted
			}
			return err
		}
		if r.Lost > 0 && !d.json {
			if _, err := fmt.Fprintf(t.stdout, "[%d records lost]\n", r.Lost); err != nil {
				return err
			}
		}
		if !d.levels[r.Level] {
			continue
		}
		show := printKernelRecord
		if d.json {
			show = printKernelJSON
		}
		if err := show(t.stdout, &r); err != nil {
			return err
		}
	}
	return nil
}

// printKernelRecord prints a record as dmesg does: further lines of its text are indented.
func printKernelRecord(w io.Writer, r *client.KernelRecord) error {
	head := fmt.Sprintf("[%12.6f] ", r.Time.Seconds())
	indent := "\n" + strings.Repeat(" ", len(head))
	_, err := fmt.Fprintf(w, "%s%s\n", head, strings.ReplaceAll(output.PrintableLines(r.Text), "\n", indent))
	return err
}

// printKernelJSON prints a record as a line of JSON.
func printKernelJSON(w io.Writer, r *client.KernelRecord) error {
	return output.JSON(w, struct {
		Level      string      `json:"level"`
		Facility   int         `json:"facility"`
		Sequence   uint64      `json:"sequence"`
		Time       json.Number `json:"time"`
		Lost       uint64      `json:"lost,omitempty"`
		Text       string      `json:"text"`
		Dictionary []string    `json:"dictionary,omitempty"`
	}{
		kernelLevels[r.Level], r.Facility, r.Sequence, json.Number(strconv.FormatFloat(r.Time.Seconds(), 'f', 6, 64)),
		r.Lost, r.Text, r.Dictionary,
	})
}
