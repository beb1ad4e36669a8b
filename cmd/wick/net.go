package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// netCommand returns wick net.
func (t *tool) netCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "net",
		Short: "Show or set the guest's network",
	}
	cmd.AddCommand(t.netShowCommand(), t.netSetCommand())
	return cmd
}

func (t *tool) netShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the guest's interfaces, addresses, routes and name servers",
		Long: `Show the guest's interfaces without lo, each with the fields that wick net set takes, its
name servers, search domains and host name. degraded.network is what could not be done of
the last configuration.`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			facts, err := c.Network(ctx)
			if err != nil {
				return err
			}
			n := networkOf(facts)
			if asJSON {
				return output.JSON(t.stdout, n)
			}
			w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
			for _, f := range facts {
				if f.Name != resolvConf {
					fmt.Fprintf(w, "%s\t%s\n", output.Printable(f.Name), output.Printable(f.Value))
				}
			}
			for _, server := range n.DNS {
				fmt.Fprintf(w, "dns\t%s\n", output.Printable(server))
			}
			for _, domain := range n.Search {
				fmt.Fprintf(w, "search\t%s\n", output.Printable(domain))
			}
			return w.Flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// resolvConf is the fact with the content of /etc/resolv.conf.
const resolvConf = "resolv.conf"

// guestNetwork is the network of a guest in JSON.
type guestNetwork struct {
	Interfaces []guestInterface `json:"interfaces"`
	DNS        []string         `json:"dns"`
	Search     []string         `json:"search"`
	Hostname   string           `json:"hostname"`
	Degraded   string           `json:"degraded,omitempty"`
}

type guestInterface struct {
	Name      string   `json:"name"`
	Up        bool     `json:"up"`
	MAC       string   `json:"mac,omitempty"`
	MTU       int      `json:"mtu"`
	Addresses []string `json:"addresses"`
	Gateways  []string `json:"gateways"`
	Routes    []string `json:"routes"`
}

// networkOf parses the facts of a guest's network. It skips fields that it does not know.
func networkOf(facts []client.Fact) guestNetwork {
	n := guestNetwork{Interfaces: []guestInterface{}, DNS: []string{}, Search: []string{}}
	for _, f := range facts {
		name, isInterface := strings.CutPrefix(f.Name, "net.")
		switch {
		case f.Name == resolvConf:
			for line := range strings.Lines(f.Value) {
				switch words := strings.Fields(line); {
				case len(words) > 1 && words[0] == "nameserver":
					n.DNS = append(n.DNS, words[1])
				case len(words) > 1 && words[0] == "search":
					n.Search = words[1:]
				}
			}
		case f.Name == "hostname":
			n.Hostname = f.Value
		case f.Name == "degraded.network":
			n.Degraded = f.Value
		case isInterface:
			n.Interfaces = append(n.Interfaces, interfaceOf(name, f.Value))
		}
	}
	return n
}

func interfaceOf(name, fields string) guestInterface {
	i := guestInterface{Name: name, Addresses: []string{}, Gateways: []string{}, Routes: []string{}}
	for field := range strings.SplitSeq(fields, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "up":
			i.Up = true
		case "mac":
			i.MAC = value
		case "mtu":
			i.MTU, _ = strconv.Atoi(value)
		case "addr":
			i.Addresses = append(i.Addresses, value)
		case "gw":
			i.Gateways = append(i.Gateways, value)
		case "route":
			i.Routes = append(i.Routes, value)
		}
	}
	return i
}

func (t *tool) netSetCommand() *cobra.Command {
	var n client.Network
	cmd := &cobra.Command{
		Use:   "set [NIC[,FIELD]...]... [--dns ADDRESS]... [--search DOMAIN]... [--hostname NAME]",
		Short: "Replace the guest's network configuration",
		Long: `Replace the guest's network configuration. NIC is the name of an interface or its MAC
address. The fields are addr=ADDRESS/BITS and route=NETWORK/BITS@GATEWAY (repeated),
gw=GATEWAY (one of IPv4, one of IPv6), mac=, mtu=, up (the default) and down.

An interface gets these addresses and routes and no others. An interface that only the
last configuration named loses its addresses and routes and goes down. A clone of a machine
gets its own address, MAC address and host name this way. Connections over an address that
stays live on.

The guest does everything it can, and the error says what it could not do.`,
		Example: `  wick net set eth0,addr=10.0.2.15/24,gw=10.0.2.2 --dns 10.0.2.3
  wick net set eth0,mac=02:fc:00:00:00:07,addr=10.0.0.7/24,gw=10.0.0.1 --hostname clone-7`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			n.Interfaces = args
			return c.SetNetwork(ctx, n)
		}),
	}
	cmd.Flags().StringArrayVar(&n.DNS, "dns", nil, "`ADDRESS` of a name server; may be repeated")
	cmd.Flags().StringArrayVar(&n.Search, "search", nil, "search `DOMAIN`; may be repeated")
	cmd.Flags().StringVar(&n.Hostname, "hostname", "", "new host `NAME` of the machine")
	return cmd
}
