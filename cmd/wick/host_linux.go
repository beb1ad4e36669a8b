package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/copying"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// machineCommands has the commands that run machines on this host.
var machineCommands = []func(*tool) *cobra.Command{
	(*tool).runCommand,
	(*tool).listCommand,
	(*tool).stopCommand,
	(*tool).startCommand,
	(*tool).restartCommand,
	(*tool).killCommand,
	(*tool).rmCommand,
	(*tool).waitCommand,
	(*tool).inspectCommand,
	(*tool).portCommand,
	(*tool).renameCommand,
	(*tool).pauseCommand,
	(*tool).unpauseCommand,
	(*tool).snapshotCommand,
}

// hostCommands has the commands for the images and devices of such machines.
var hostCommands = []func(*tool) *cobra.Command{
	(*tool).imagesCommand,
	(*tool).pullCommand,
	(*tool).rmiCommand,
	(*tool).loadCommand,
	(*tool).saveCommand,
	(*tool).volumeCommand,
	(*tool).cacheCommand,
	(*tool).deviceCommand,
	(*tool).kernelCommand,
}

// errUnresponsive is the cause of a context that ends because the guest does not answer.
var errUnresponsive = machine.ErrUnresponsive

// isMachineName reports whether name can be the name of a machine.
func isMachineName(name string) bool { return keeper.CheckName(name) == nil }

// machineAddress returns the address of a machine that stays.
func machineAddress(name string) (string, error) {
	state, err := machineState(name)
	switch {
	case err != nil:
		return "", err
	case state.Status == keeper.Paused:
		return "", fmt.Errorf("machine %s is paused; wick unpause %[1]s lets it go on", state.Name)
	case !state.Status.Live():
		return "", fmt.Errorf("machine %s is %s; wick start %[1]s starts it again", state.Name, state.Status)
	case state.Address == "":
		return "", fmt.Errorf("machine %s is still starting", state.Name)
	}
	return state.Address, nil
}

// machineState returns the state of a machine that stays.
func machineState(name string) (*keeper.State, error) {
	s, err := keeper.Default()
	if err != nil {
		return nil, err
	}
	m, err := s.Find(name)
	if err != nil {
		return nil, err
	}
	return m.State()
}

// putTree copies a local directory to a path in the guest.
func (t *tool) putTree(ctx context.Context, c *client.Client, p machine.Put) error {
	cp := copying.Copier{Guest: c, Stderr: t.stderr}
	return cp.TreeInto(ctx, p.Local, p.Guest)
}

// machineLogs shows the log of a machine.
func (t *tool) machineLogs(ctx context.Context, f *logFlags, lines logLines, name string) error {
	s, err := keeper.Default()
	if err != nil {
		return err
	}
	m, err := s.Find(name)
	if err != nil {
		return err
	}
	if f.console {
		console, err := os.Open(m.Path("console.log"))
		if err != nil {
			return fmt.Errorf("open the console's log: %w", err)
		}
		defer console.Close()
		_, err = io.Copy(&output.PrintableWriter{W: t.stdout}, console)
		return err
	}
	o := keeper.LogOptions{Tail: lines.tail, Since: lines.since, Until: lines.until, Follow: lines.follow}
	err = m.Logs(ctx, o, func(line keeper.Line) error {
		to := t.stdout
		if line.Stderr {
			to = t.stderr
		}
		text := line.Text
		if f.times {
			text = append([]byte(line.Time.Format(time.RFC3339Nano)+" "), text...)
		}
		_, err := to.Write(text)
		return err
	})
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// completeMachines completes the names of machines.
func completeMachines(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if s, err := keeper.Default(); err == nil {
		list, _ := s.List()
		for _, m := range list {
			about := string(m.Status)
			if m.Image != "" {
				about += ", " + m.Image
			}
			names = append(names, m.Name+"\t"+about)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
