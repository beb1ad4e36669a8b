package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/help"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// tool is one run of the command line. It has the streams, and the flags of every command.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	to             string
	connectTimeout time.Duration
	// unwind is the time to clean up after a signal, if longer than unwindLimit.
	unwind atomic.Int64
	// guest is the newest connection to the guest of a command.
	guest atomic.Pointer[client.Client]
	// running passes a signal on to the command in the guest. It is nil while there is no command
	// that can get one.
	running atomic.Pointer[func(context.Context, syscall.Signal) error]
	// stop, if not nil, says how the command is asked to end.
	stop atomic.Pointer[stopRule]
	// asked says that a signal has asked the command to end.
	asked atomic.Bool
	// terminal is the user's terminal in raw mode. Exits that bypass the command restore it.
	terminal atomic.Pointer[terminal.Terminal]
	// parsed is set once the command line is valid. An error before that is one of usage.
	parsed bool
}

// commands returns the constructors of all commands.
func commands() []func(*tool) *cobra.Command {
	return slices.Concat(machineCommands, guestCommands, hostCommands, []func(*tool) *cobra.Command{
		(*tool).versionCommand, (*tool).manCommand,
	})
}

// guestCommands has the commands that need a guest, and no more of the host than its files.
var guestCommands = []func(*tool) *cobra.Command{
	(*tool).execCommand,
	(*tool).shellCommand,
	(*tool).spawnCommand,
	(*tool).attachCommand,
	(*tool).logsCommand,
	(*tool).psCommand,
	(*tool).topCommand,
	(*tool).signalCommand,
	(*tool).cpCommand,
	(*tool).putCommand,
	(*tool).lsCommand,
	(*tool).catCommand,
	(*tool).statCommand,
	(*tool).forwardCommand,
	(*tool).ncCommand,
	(*tool).portsCommand,
	(*tool).watchCommand,
	(*tool).servicesCommand,
	(*tool).serviceCommand,
	(*tool).infoCommand,
	(*tool).statsCommand,
	(*tool).dmesgCommand,
	(*tool).pingCommand,
	(*tool).netCommand,
	(*tool).configureCommand,
	(*tool).secretCommand,
	(*tool).mountCommand,
	(*tool).umountCommand,
	(*tool).diskCommand,
	(*tool).freezeCommand,
	(*tool).thawCommand,
	(*tool).restoreCommand,
	(*tool).shutdownCommand,
	(*tool).poweroffCommand,
	(*tool).rebootCommand,
}

// commandGroups has the order of the commands in the help text. machine says that they take the
// name of a machine first.
var commandGroups = []struct {
	title    string
	machine  bool
	commands string
}{
	{"Machines", false, "run list exec shell logs attach cp port stop start restart kill rm wait inspect rename pause unpause snapshot"},
	{"Images and disks", false, "images pull load save rmi volume cache"},
	{"Commands of a machine", true, "ps top signal spawn services service"},
	{"Files of a machine", true, "ls cat stat watch mount umount disk"},
	{"Network of a machine", true, "forward ports nc net"},
	{"A machine itself", true, "info stats dmesg ping configure secret freeze thaw restore shutdown poweroff reboot"},
	{"More", false, "put device kernel completion version help"},
}

// root returns the tree of commands.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wick",
		Short: "Run microVMs, and talk to the agent in them",
		Long: `wick runs commands and container images in microVMs. Each is a virtual machine with a kernel
of its own, which boots in a fraction of a second where KVM works.

wick run boots a machine, runs a command in it, and powers it off. wick run -d leaves it
running. The other commands take its name: wick logs web, wick exec web ps. Those about a
machine itself also reach any other guest, by the address in --to or $WICK_TO.`,
		Example: `  wick run -it alpine
  wick run -d --name web -p 8080:80 -v ./site:/srv -e MODE=dev python:3-slim python -m http.server 80
  wick logs -f web
  wick shell web
  wick cp web:/srv/report.txt .
  wick rm -f web`,
		Annotations:        map[string]string{help.Footer: addressForms},
		Version:            version,
		SilenceUsage:       true,
		SilenceErrors:      true,
		DisableSuggestions: true, // wick has its own
		PersistentPreRun: func(*cobra.Command, []string) {
			t.parsed = true
		},
	}
	root.SetIn(t.stdin)
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	root.SetVersionTemplate("wick {{.Version}}\n")
	root.SetUsageFunc(help.Usage)
	root.SetFlagErrorFunc(help.FlagError)
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&t.to, "to", os.Getenv("WICK_TO"), "`address` of the guest ($WICK_TO)")
	flags.Lookup("to").DefValue = "" // the help text does not depend on the environment
	flags.Var(units.Time(&t.connectTimeout, 10*time.Second), "connect-timeout", "how long to wait for the guest; 0 for ever")
	root.RegisterFlagCompletionFunc("to", completeAddress)
	t.addCommands(root)
	return root
}

// addCommands adds the commands to root in the order of their groups.
func (t *tool) addCommands(root *cobra.Command) {
	all := map[string]*cobra.Command{}
	for _, command := range commands() {
		cmd := command(t)
		all[cmd.Name()] = cmd
	}
	cobra.EnableCommandSorting = false
	for _, g := range commandGroups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, name := range strings.Fields(g.commands) {
			cmd := all[name]
			if cmd == nil {
				continue // help and completion are cobra's
			}
			cmd.GroupID = g.title
			if g.machine {
				t.machineFirst(cmd)
			}
			root.AddCommand(cmd)
			delete(all, name)
		}
	}
	for _, cmd := range all {
		root.AddCommand(cmd) // it is hidden
	}
	for _, cmd := range root.Commands() {
		help.RefuseOthers(cmd)
	}
	last := commandGroups[len(commandGroups)-1].title
	root.SetCompletionCommandGroupID(last)
	root.SetHelpCommandGroupID(last)
}

// addressForms ends the help text.
const addressForms = `Addresses of a guest, for --to:
  machine:NAME                   a machine of wick run -d
  unix:PATH                      connect to an agent that listens on a Unix socket
  unix-listen:PATH               listen on PATH until the agent connects
  firecracker:UDS[:PORT]         connect through Firecracker's vsock socket
  firecracker-listen:UDS[:PORT]  listen on UDS_PORT until the guest connects
  vsock:CID[:PORT]               connect over AF_VSOCK (QEMU, cloud-hypervisor with vhost)
  tcp:HOST:TCPPORT               connect to a loopback port that leads to an agent's socket
  firecracker-tcp:HOST:TCPPORT[:PORT]  the same, for Firecracker's vsock socket

PORT is 1000 by default. wick waits up to --connect-timeout for a guest that is not ready
yet.`

// versionCommand returns wick version.
func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the version of wick",
		Long:              `Print the version of wick. wick info shows that of a guest.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(t.stdout, "wick %s\n", version)
			return err
		},
	}
}

// completeAddress completes the forms of an address.
func completeAddress(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var forms []string
	for _, form := range client.Forms {
		name, _, _ := strings.Cut(form, ":")
		forms = append(forms, name+":\t"+form)
	}
	return forms, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// needs requires exactly the named arguments. The last may be repeated if its name ends in dots.
func needs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for i, name := range names {
			if i >= len(args) {
				return fmt.Errorf("%s: %s is missing", cmd.Name(), strings.TrimSuffix(name, "..."))
			}
		}
		if len(args) > len(names) && (len(names) == 0 || !strings.HasSuffix(names[len(names)-1], "...")) {
			return fmt.Errorf("%s: one argument too many: %q", cmd.Name(), args[len(names)])
		}
		return nil
	}
}
