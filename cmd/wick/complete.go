package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// completionLimit limits the wait for a guest that is asked for completions.
const completionLimit = 2 * time.Second

// completing calls do with a connection to the guest that --to names. There are no completions if
// the guest cannot be asked.
func (t *tool) completing(do func(context.Context, *client.Client) []string) []string {
	if t.to == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
	defer cancel()
	c, err := t.connect(ctx)
	if err != nil {
		return nil
	}
	defer c.Close()
	return do(ctx, c)
}

// completeCommands completes the ids of commands in the guest, or the names of machines if no guest
// is named.
func (t *tool) completeCommands(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if t.to == "" && len(args) == 0 {
		return completeMachines(cmd, args, word)
	}
	t.takeMachine(cmd, args)
	return t.completing(func(ctx context.Context, c *client.Client) (ids []string) {
		list, _ := c.Processes(ctx)
		for _, p := range list {
			if p.ID != 0 {
				ids = append(ids, fmt.Sprintf("%016x\t%s", p.ID, output.Printable(p.Command)))
			}
		}
		return ids
	}), cobra.ShellCompDirectiveNoFileComp
}

// completePaths completes paths of the guest.
func (t *tool) completePaths(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return t.guestPaths(word), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// guestPaths returns the paths of the guest that begin with word. Directories end in a slash.
func (t *tool) guestPaths(word string) []string {
	dir, base := path.Split(word)
	if dir == "" {
		dir = "/"
	}
	return t.completing(func(ctx context.Context, c *client.Client) (paths []string) {
		list, _ := c.ReadDir(ctx, dir)
		for _, i := range list {
			name := i.Name()
			if !strings.HasPrefix(name, base) || name[0] == '.' && base == "" {
				continue
			}
			if i.IsDir() {
				name += "/"
			}
			paths = append(paths, dir+name)
		}
		return paths
	})
}

// completeCopy completes the arguments of wick cp: paths of this host, those of the guest after a
// colon, and names of machines.
func (t *tool) completeCopy(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	machine, rest, inGuest := strings.Cut(word, ":")
	if !inGuest && len(args) < 2 && t.to == "" && isMachineName(word+"x") {
		if names := machinesAndFiles(cmd, word); len(names) > 0 {
			return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
	}
	if !inGuest || len(args) > 1 || strings.Contains(machine, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if t.to == "" {
		t.to = machineForm + machine
	}
	paths := t.guestPaths(rest)
	for i := range paths {
		paths[i] = machine + ":" + paths[i]
	}
	return paths, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// machinesAndFiles completes the name of a machine with a colon, or else the name of a file of this
// host. It returns nothing if there is no such machine, because the shell completes files better.
func machinesAndFiles(cmd *cobra.Command, word string) (names []string) {
	machines, _ := completeMachines(cmd, nil, word)
	for _, m := range machines {
		name, about, _ := strings.Cut(m, "\t")
		if strings.HasPrefix(name, word) {
			names = append(names, name+":\t"+about)
		}
	}
	if len(names) == 0 {
		return nil
	}
	files, _ := filepath.Glob(word + "*") // a name of a machine has nothing that Glob replaces
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

// completeMachineFirst completes the name of a machine as the first argument, where it may be one.
func (t *tool) completeMachineFirst(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if t.to != "" || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeMachines(cmd, args, word)
}

// completeImageFirst completes the image of wick run, if it can be one.
func completeImageFirst(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeImages(cmd, args, word)
}
