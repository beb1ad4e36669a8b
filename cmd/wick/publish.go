//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/output"
)

// parsePublish parses a -p of wick run. It has the forms of wick forward, and docker's: ADDR::PORT
// is any free port at an address, and FIRST-LAST:FIRST-LAST is a range of ports.
func parsePublish(s string) ([]forward, error) {
	plain := s
	if head, ok := strings.CutSuffix(s, "/tcp"); ok && !strings.Contains(s, "unix:") {
		plain = head
	}
	if i := strings.LastIndex(plain, "::"); i >= 0 && isNumber(plain[i+2:]) && (!strings.HasPrefix(plain, "[") || strings.Contains(plain[:i], "]")) {
		plain = plain[:i] + ":0:" + plain[i+2:]
	}
	texts, err := portRange(plain)
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("publish %q: %w", s, err))
	}
	var forwards []forward
	for _, text := range texts {
		fw, err := parseForward(text, defaultBind, false)
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, fw)
	}
	return forwards, nil
}

// portRange returns a text for each pair of ports, if s has ranges, and s alone otherwise.
func portRange(s string) ([]string, error) {
	i := strings.LastIndexByte(s, ':')
	first, last, ranged := bounds(s[i+1:])
	if !ranged {
		return []string{s}, nil
	}
	address, hostFirst, hostLast := "", first, last
	if i >= 0 {
		j := strings.LastIndexByte(s[:i], ':')
		address = s[:j+1]
		if hostFirst, hostLast, ranged = bounds(s[j+1 : i]); !ranged {
			return nil, errors.New("a range of ports needs a range of this host's")
		}
	}
	if last < first || last > 65535 || hostLast-hostFirst != last-first {
		return nil, errors.New("the ranges of ports are not of one length")
	}
	var all []string
	for n := 0; n <= last-first; n++ {
		all = append(all, fmt.Sprintf("%s%d:%d", address, hostFirst+n, first+n))
	}
	return all, nil
}

// bounds parses FIRST-LAST.
func bounds(s string) (first, last int, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok || !isNumber(a) || !isNumber(b) {
		return 0, 0, false
	}
	first, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0, false
	}
	last, err = strconv.Atoi(b)
	return first, last, err == nil
}

// publishedPorts returns the ends of the ports that wick listens at.
func (r *runner) publishedPorts() []keeper.Published {
	var all []keeper.Published
	for i, ln := range r.published {
		if fw := &r.forwards[i]; ln != nil {
			all = append(all, keeper.Published{Host: ln.Addr().String(), Guest: guestEnd(fw.to)})
		}
	}
	return all
}

// guestEnd returns the end of a guest as docker writes it, such as 80/tcp.
func guestEnd(e end) string {
	if host, port, err := net.SplitHostPort(e.address); err == nil && e.network == "tcp" && host == "localhost" {
		return port + "/tcp"
	}
	return e.String()
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
