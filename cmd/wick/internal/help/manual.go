package help

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteManual writes the pages of a command and its subcommands. A page has the text of --help.
func WriteManual(dir string, cmd *cobra.Command, day time.Time) error {
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
		if err := WriteManual(dir, sub, day); err != nil {
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

// environment has the variables that wick reads.
var environment = [][2]string{
	{"WICK_TO", "The address of the guest, unless --to gives one."},
	{"XDG_RUNTIME_DIR", "Where the machines of wick run -d are, in the directory wick; by default /run for root."},
	{"XDG_STATE_HOME", "Where the disks of machines are, in the directory wick; by default ~/.local/state."},
	{"XDG_CACHE_HOME", "Where images and kernels are kept, in the directory wick; by default ~/.cache."},
	{"WICK_CACHE_SIZE", "How large that may become before the least recently used is removed, such as 10G."},
	{"DOCKER_CONFIG", "The directory of docker's config.json, which has the credentials of registries; by default ~/.docker."},
	{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "Proxies for registries and Debian packages."},
	{"WICK_DEBIAN_MIRROR", "Where Debian's archive is, on a host whose apt lacks the kernel, such as http://deb.debian.org/debian."},
	{"TMPDIR", "Where the files of a running machine are; by default /tmp."},
	{"NOTIFY_SOCKET", "Where wick run tells systemd that the machine is ready."},
	{"TERM", "The terminal, which a command with -t gets too."},
}

// exitStatuses returns the exit codes of a command.
func exitStatuses(cmd *cobra.Command) [][2]string {
	switch cmd.CommandPath() {
	case "wick run", "wick exec", "wick shell", "wick attach", "wick spawn":
		return [][2]string{
			{"0-255", "That of the command in the guest."},
			{"124", "The command ran out of time (--timeout)."},
			{"125", "The command line is wrong, or the guest could not be booted or reached, was lost, or did not run the command."},
			{"126", "The command could not be executed."},
			{"127", "There is no such command."},
			{"128+N", "Signal N killed the command, or wick."},
		}
	}
	return [][2]string{
		{"0", "Success."},
		{"1", "It could not be done."},
		{"125", "The command line is wrong, or the guest could not be reached or was lost."},
		{"128+N", "Signal N ended wick."},
	}
}

func manPage(cmd *cobra.Command, name string, day time.Time) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	// literal keeps the line breaks, because the texts are laid out for a terminal.
	literal := func(text string) { fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(strings.Trim(text, "\n"))) }
	fmt.Fprintf(&b, ".TH %s 1 %s \"wick %s\" \"User Commands\"\n", strings.ToUpper(roff(name)), day.Format(time.DateOnly), roff(cmd.Root().Version))
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
	if text := cmd.Annotations[Footer]; text != "" {
		title, text, _ := strings.Cut(text, ":\n")
		section(strings.ToUpper(title))
		literal(text)
	}
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
	section("EXIT STATUS")
	for _, s := range exitStatuses(cmd) {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(s[0]), roff(s[1]))
	}
	section("ENVIRONMENT")
	for _, v := range environment {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", v[0], roff(v[1]))
	}
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
