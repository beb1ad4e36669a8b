//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
)

// machineCommands has the commands that run machines. They need Linux, and say so.
var machineCommands = onLinux("run", "list", "stop", "start", "restart", "kill", "rm", "wait", "inspect", "port", "rename", "pause", "unpause",
	"snapshot")

// hostCommands has the commands for the images and devices of machines. They need Linux too.
var hostCommands = onLinux("images", "pull", "rmi", "load", "save", "volume", "cache", "device", "kernel")

// onLinux returns commands that fail with the reason, whatever their arguments.
func onLinux(names ...string) (list []func(*tool) *cobra.Command) {
	for _, name := range names {
		list = append(list, func(*tool) *cobra.Command {
			return &cobra.Command{
				Use:                name,
				Short:              "Needs a Linux host",
				Hidden:             true,
				DisableFlagParsing: true,
				RunE:               func(*cobra.Command, []string) error { return needsLinux("wick " + name) },
			}
		})
	}
	return list
}

// needsLinux returns the error of something that this host cannot do.
func needsLinux(what string) error {
	return exit.Usage(fmt.Errorf("%s needs a Linux host, and this is %s; run it there, as by ssh HOST wick, or give --to for a "+
		"forwarded socket", what, runtime.GOOS))
}

// errUnresponsive is the cause of a context that ends because the guest does not answer.
var errUnresponsive = errors.New("the guest does not answer")

// isMachineName reports false: there are no machines on this host.
func isMachineName(string) bool { return false }

// listMachines fails.
func (t *tool) listMachines(*machineFlags, *output.Flags) error {
	return needsLinux("a list of machines")
}

// machineAddress fails.
func machineAddress(name string) (string, error) { return "", needsLinux("machine " + name) }

// attachMachine fails.
func (t *tool) attachMachine(_ context.Context, name string, _ attachOptions) error {
	return needsLinux("machine " + name)
}

// machineLogs fails.
func (t *tool) machineLogs(_ context.Context, _ *logFlags, _ logLines, name string) error {
	return needsLinux("machine " + name)
}

// completeMachines completes nothing.
func completeMachines(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeImages completes nothing.
func completeImages(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}
