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
	// asked says that a signal has asked the command to end.
	asked atomic.Bool
	// terminal is the user's terminal in raw mode. Exits that bypass the command restore it.
	terminal atomic.Pointer[terminal]
	// parsed is set once the command line is valid. An error before that is one of usage.
	parsed bool
}

// commands returns the commands in the order of the help text.
func commands() []func(*tool) *cobra.Command {
	return slices.Concat(machineCommands, guestCommands, hostCommands, []func(*tool) *cobra.Command{(*tool).manCommand})
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

// root returns the tree of commands.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wick",
		Short: "Run microVMs, and talk to the agent in them",
		Long: `wick run boots a microVM and runs a command in it. The other commands talk to the agent in
a running microVM. They run commands and shells there, copy files in both directions, show
figures of the machine, and freeze, restore or power it off.

wick run -d makes a machine that stays: wick list, logs, stop, start, rm. wick exec, shell,
cp and attach take its name. Other commands need the guest's address, as --to or $WICK_TO:

  machine:NAME                   a machine of wick run -d
  unix:PATH                      connect to an agent that listens on a Unix socket
  unix-listen:PATH               listen on PATH until the agent connects
  firecracker:UDS[:PORT]         connect through Firecracker's vsock socket
  firecracker-listen:UDS[:PORT]  listen on UDS_PORT until the guest connects
  vsock:CID[:PORT]               connect over AF_VSOCK (QEMU, cloud-hypervisor with vhost)
  tcp:HOST:TCPPORT               connect to a loopback port that leads to an agent's socket
  firecracker-tcp:HOST:TCPPORT[:PORT]  the same, for Firecracker's vsock socket

PORT is 1000 by default. wick waits up to --connect-timeout for a guest that is not ready
yet.`,
		Example: `  export WICK_TO=firecracker:/run/vm7/v.sock
  wick exec -- uname -r
  wick shell
  wick cp ./app :/srv`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			t.parsed = true
		},
	}
	root.SetIn(t.stdin)
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	root.SetVersionTemplate("wick {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&t.to, "to", os.Getenv("WICK_TO"), "`address` of the guest ($WICK_TO)")
	flags.Lookup("to").DefValue = "" // the help text does not depend on the environment
	flags.Var(newTime(&t.connectTimeout, 10*time.Second), "connect-timeout", "how long to wait for the guest; 0 for ever")
	root.RegisterFlagCompletionFunc("to", completeAddress)
	for _, command := range commands() {
		root.AddCommand(command(t))
	}
	return root
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
