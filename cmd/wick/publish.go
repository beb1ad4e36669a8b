//go:build linux

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/output"
)

// publishedPorts returns the ends of the ports that wick listens at.
func (r *runner) publishedPorts() []keeper.Published {
	var all []keeper.Published
	for i, ln := range r.published {
		if fw := &r.forwards[i]; ln != nil {
			all = append(all, keeper.Published{Host: ln.Addr().String(), Guest: fw.To.Published()})
		}
	}
	return all
}

// portTexts returns the published ports for a table.
func portTexts(m *keeper.State) []string {
	if !m.Status.Live() || len(m.Published) == 0 {
		return m.Ports
	}
	var texts []string
	for _, p := range m.Published {
		texts = append(texts, p.Host+"->"+p.Guest)
	}
	return texts
}

// portCommand returns wick port.
func (t *tool) portCommand() *cobra.Command {
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "port [flags] MACHINE [PORT]",
		Short: "Show at which addresses the ports of a machine are published",
		Long: `Show at which addresses of this host the ports of a machine are published, by -p or -P. With
PORT, show only the address of this port of the guest. wick ports shows the ports that
listen in the guest, and wick forward publishes one later.

The fields of --json are guest and host.`,
		Example: `  wick port web
  curl http://$(wick port web 80)/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return needs("MACHINE")(cmd, args)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeMachines(cmd, args, word)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			state, err := machineState(args[0])
			if err != nil {
				return err
			}
			if !state.Status.Live() {
				return fmt.Errorf("machine %s is %s", state.Name, state.Status)
			}
			list := state.Published
			if len(args) > 1 {
				list = nil
				for _, p := range state.Published {
					if p.Guest == args[1] || p.Guest == args[1]+"/tcp" {
						list = append(list, p)
					}
				}
				if len(list) == 0 {
					return fmt.Errorf("port %s of machine %s is not published; wick forward %[2]s HOST:%[1]s does it", args[1], state.Name)
				}
			}
			return output.List(t.stdout, &f, list, nil, func(w io.Writer) {
				for _, p := range list {
					if len(args) > 1 {
						fmt.Fprintln(w, p.Host)
						continue
					}
					fmt.Fprintf(w, "%s -> %s\n", p.Guest, p.Host)
				}
			})
		},
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "")
	return cmd
}
