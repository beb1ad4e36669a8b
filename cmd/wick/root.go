package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/framing/client"
)

// tool is one run of the command line: the streams, and the flags that every command has.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	to             string
	connectTimeout time.Duration
	// unwind is how long a signal waits for the command to undo what it did, if it takes longer than usual.
	unwind atomic.Int64
	// guest is the connection to the guest of a command, the newest.
	guest atomic.Pointer[client.Client]
	// running passes a signal on to the command that runs in the guest; nil while there is none
	// that can be told.
	running atomic.Pointer[func(context.Context, syscall.Signal) error]
	// terminal is our own while it is in raw mode, for the ways out that the command does not see.
	terminal atomic.Pointer[terminal]
	// parsed is set once the command line was found to be right, so that an error before it is one of usage.
	parsed bool
}

// commands makes the commands, in the order of the help text.
var commands = []func(*tool) *cobra.Command{
	(*tool).runCommand,
	(*tool).execCommand,
	(*tool).shellCommand,
	(*tool).spawnCommand,
	(*tool).attachCommand,
	(*tool).psCommand,
	(*tool).topCommand,
	(*tool).signalCommand,
	(*tool).cpCommand,
	(*tool).putCommand,
	(*tool).lsCommand,
	(*tool).catCommand,
	(*tool).statCommand,
	(*tool).infoCommand,
	(*tool).statsCommand,
	(*tool).pingCommand,
	(*tool).freezeCommand,
	(*tool).thawCommand,
	(*tool).restoreCommand,
	(*tool).shutdownCommand,
	(*tool).poweroffCommand,
	(*tool).rebootCommand,
	(*tool).deviceCommand,
	(*tool).kernelCommand,
	(*tool).manCommand,
}

// root makes the command line's tree.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wick",
		Short: "Run microVMs, and talk to the agent in them",
		Long: `wick boots a microVM and runs a command in it, with wick run; and it talks to the
agent in one that runs: it runs commands and shells there, copies files both ways, shows
what the machine is doing, and has it frozen, restored or powered off.

For all but wick run the guest is named by --to or by $WICK_TO:

  unix:PATH                      connect to an agent that listens on a Unix socket
  unix-listen:PATH               listen there, and take the agent that connects
  firecracker:UDS[:PORT]         connect through Firecracker's vsock socket
  firecracker-listen:UDS[:PORT]  listen on UDS_PORT, and take the guest that connects
  vsock:CID[:PORT]               connect over AF_VSOCK (QEMU, cloud-hypervisor with vhost)

PORT is 1000 unless it is given. A guest that is not there yet is waited for, up to
--connect-timeout.`,
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
	flags.Lookup("to").DefValue = "" // whose value is for the environment to say, not for the help text
	flags.DurationVar(&t.connectTimeout, "connect-timeout", 10*time.Second, "how long to wait for the guest; 0 is for ever")
	root.RegisterFlagCompletionFunc("to", completeAddress)
	for _, command := range commands {
		root.AddCommand(command(t))
	}
	return root
}

// completeAddress offers the forms of an address; the shell knows nothing of what follows.
func completeAddress(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var forms []string
	for _, form := range client.Forms {
		name, _, _ := strings.Cut(form, ":")
		forms = append(forms, name+":\t"+form)
	}
	return forms, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// needs refuses any other number of arguments than the named ones; of the last there may be more if its name ends in dots.
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
