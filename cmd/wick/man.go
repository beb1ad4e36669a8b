package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand returns wick man, which is for packagers.
func (t *tool) manCommand() *cobra.Command {
	date := ""
	cmd := &cobra.Command{
		Use:    "man DIR",
		Short:  "Write manual pages, one for each command, into a directory",
		Hidden: true,
		Args:   needs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return usageError(fmt.Errorf("--date %q: want YYYY-MM-DD", date))
			}
			return writeManual(args[0], cmd.Root(), day)
		},
	}
	cmd.Flags().StringVar(&date, "date", time.Now().UTC().Format(time.DateOnly), "`date` on the pages")
	return cmd
}

// writeManual writes the pages of a command and its subcommands. A page has the text of --help.
func writeManual(dir string, cmd *cobra.Command, day time.Time) error {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	if err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(manPage(cmd, name, day)), 0o644); err != nil {
		return fmt.Errorf("write the manual: %w", err)
	}
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "completion" {
			continue
		}
		if err := writeManual(dir, sub, day); err != nil {
			return err
		}
	}
	return nil
}

// roff returns text with backslashes, leading dots and quotes escaped, and with hyphens that can be
// copied.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func manPage(cmd *cobra.Command, name string, day time.Time) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	// literal keeps the line breaks, because the texts are laid out for a terminal.
	literal := func(text string) { fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(strings.Trim(text, "\n"))) }
	fmt.Fprintf(&b, ".TH %s 1 %s \"wick %s\" \"User Commands\"\n", strings.ToUpper(roff(name)), day.Format(time.DateOnly), roff(version))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(name), roff(cmd.Short))
	section("SYNOPSIS")
	use := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		use = cmd.CommandPath() + " [flags] COMMAND"
	}
	fmt.Fprintf(&b, "%s\n", roff(use))
	section("DESCRIPTION")
	literal(cmd.Long)
	if subs := cmd.Commands(); cmd.HasAvailableSubCommands() {
		section("COMMANDS")
		for _, sub := range subs {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.Name()), roff(sub.Short))
			}
		}
	}
	section("OPTIONS")
	flag := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		short := ""
		if f.Shorthand != "" {
			short = "-" + f.Shorthand + ", "
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s", roff(strings.TrimSpace(short+"--"+f.Name+" "+value)), roff(usage))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			fmt.Fprintf(&b, " (default %s)", roff(f.DefValue))
		}
		b.WriteString("\n")
	}
	cmd.NonInheritedFlags().VisitAll(flag)
	cmd.InheritedFlags().VisitAll(flag)
	if cmd.Example != "" {
		section("EXAMPLES")
		literal(cmd.Example)
	}
	section("SEE ALSO")
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".BR %s (1)\n", roff(strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")))
		return b.String()
	}
	var also []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" {
			also = append(also, fmt.Sprintf(".BR %s (1)", roff(name+"-"+sub.Name())))
		}
	}
	b.WriteString(strings.Join(also, ",\n") + "\n")
	return b.String()
}
