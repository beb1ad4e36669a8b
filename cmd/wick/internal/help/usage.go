package help

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wick/cmd/wick/internal/terminal"
)

// Annotations of commands for their help texts.
const (
	flagGroups = "wick_flags"  // titles and names of flags, on a line each
	Footer     = "wick_footer" // text for the end
)

// Group puts flags of cmd under a title in the help text, in this order.
func Group(cmd *cobra.Command, title, names string) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[flagGroups] += title + ":" + names + "\n"
}

// Usage prints the part of a help text that follows the description.
func Usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	switch {
	case cmd.HasAvailableSubCommands():
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	default:
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	subcommands(&b, cmd)
	cols := 0 // lines are not wrapped
	// cobra collects the text before it writes it.
	if size := terminal.Size(os.Stdout); size != nil {
		cols = int(size.Cols)
	}
	rest := map[string]bool{}
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { rest[f.Name] = true })
	more := "Flags"
	for line := range strings.Lines(cmd.Annotations[flagGroups]) {
		title, names, _ := strings.Cut(line, ":")
		more = "More flags"
		set := pflag.NewFlagSet("", pflag.ContinueOnError)
		set.SortFlags = false
		for _, name := range strings.Fields(names) {
			set.AddFlag(cmd.Flag(name))
			delete(rest, name)
		}
		fmt.Fprintf(&b, "\n%s:\n%s", title, set.FlagUsagesWrapped(cols))
	}
	others := pflag.NewFlagSet("", pflag.ContinueOnError)
	others.SortFlags = cmd.NonInheritedFlags().SortFlags
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if rest[f.Name] {
			others.AddFlag(f)
		}
	})
	if text := others.FlagUsagesWrapped(cols); text != "" {
		fmt.Fprintf(&b, "\n%s:\n%s", more, text)
	}
	if inherited := cmd.InheritedFlags(); inherited.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nGlobal flags:\n%s", inherited.FlagUsagesWrapped(cols))
	}
	if text := cmd.Annotations[Footer]; text != "" {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s COMMAND --help\" for more about a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}

// subcommands lists the commands of cmd, by their groups if they have some.
func subcommands(b *strings.Builder, cmd *cobra.Command) {
	list := func(title, group string) {
		for _, sub := range cmd.Commands() {
			if sub.GroupID != group || !sub.IsAvailableCommand() && sub.Name() != "help" {
				continue
			}
			if title != "" {
				fmt.Fprintf(b, "\n%s:\n", title)
				title = ""
			}
			fmt.Fprintf(b, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, g.ID)
	}
	list("Commands", "")
}
