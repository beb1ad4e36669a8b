package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/forwarding"
	"wick/cmd/wick/internal/output"
	"wick/framing"
	"wick/framing/client"
)

// forwardFlags are the flags of "wick forward".
type forwardFlags struct {
	bind    string
	reverse []string
	socks   []string
	auto    bool
	verbose bool
}

// forwardCommand returns "wick forward".
func (t *tool) forwardCommand() *cobra.Command {
	var flags forwardFlags
	cmd := &cobra.Command{
		Use:   "forward [flags] [HOST:GUEST]...",
		Short: "Forward connections to and from the guest",
		Long: `Forward connections between this machine and the guest's own network, over the connection
to the agent. The guest needs no network device for it.

HOST:GUEST listens on HOST, which is an end of this machine, and connects to GUEST in the guest.
--reverse GUEST:HOST listens in the guest and connects here. An end is one of these:

  PORT              on 127.0.0.1 of this machine, or localhost of the guest
  ADDR:PORT         ADDR is an IP address, in brackets for IPv6, or localhost
  unix:PATH, /PATH  a Unix socket
  @NAME             an abstract Unix socket

PORT alone is PORT:PORT. Port 0 on the listening side is any free port. A listening port of this
machine is bound to 127.0.0.1, unless --bind or ADDR is given.

--socks is a SOCKS5 proxy into the guest's network, without authentication. --auto forwards each
TCP port that listens in the guest to the same port here, while it listens. The guest resolves
no name but localhost, so a client of the proxy must resolve names itself (curl: socks5://).

When all are ready, wick prints a line for each with the address it listens on. It runs until
it is interrupted or the guest is lost, and closes everything then.`,
		Example: `  wick forward 8080:80
  wick forward --bind 0.0.0.0 8080:80 5432:unix:/run/postgresql/.s.PGSQL.5432
  wick forward --reverse /run/agent.sock:$SSH_AUTH_SOCK
  wick forward --socks 1080
  curl -x socks5h://127.0.0.1:1080 http://localhost:8000/`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			forwards, err := flags.parse(args)
			if err != nil {
				return err
			}
			return t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
				return t.forward(ctx, c, &flags, forwards)
			})(cmd, args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&flags.bind, "bind", forwarding.DefaultBind, "`ADDR` of this machine to listen on")
	f.StringArrayVar(&flags.reverse, "reverse", nil, "listen in the guest and connect here: `GUEST:HOST`; may be repeated")
	f.StringArrayVar(&flags.socks, "socks", nil, "listen here on `[ADDR:]PORT` as a SOCKS5 proxy; may be repeated")
	f.BoolVar(&flags.auto, "auto", false, "forward each port that listens in the guest to the same port here")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "print a line for each connection on stderr")
	for _, name := range []string{"bind", "reverse", "socks"} {
		cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

// parse parses all forwards before the guest is asked for anything.
func (f *forwardFlags) parse(args []string) (forwards []forwarding.Forward, err error) {
	if f.bind, err = forwarding.ParseBind(f.bind); err != nil {
		return nil, err
	}
	for i, arg := range append(args[:len(args):len(args)], f.reverse...) {
		fw, err := forwarding.Parse(arg, f.bind, i >= len(args))
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, fw)
	}
	for _, s := range f.socks {
		proxy, err := forwarding.ParseProxy(s, f.bind)
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, proxy)
	}
	if len(forwards) == 0 && !f.auto {
		return nil, exit.Usage(errors.New("forward: HOST:GUEST is missing"))
	}
	return forwards, nil
}

func (t *tool) forward(ctx context.Context, c *client.Client, flags *forwardFlags, forwards []forwarding.Forward) error {
	features := framing.FeatureForward
	if flags.auto {
		features |= framing.FeaturePorts
	}
	if err := c.Require(ctx, features); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	f := forwarding.NewForwarder(c, flags.verbose, t.stderr)
	defer f.Close()
	var lines strings.Builder
	for i := range forwards {
		fw := &forwards[i]
		var ln net.Listener
		var err error
		if !fw.Reverse {
			if ln, err = forwarding.Listen(ctx, fw.From); err != nil {
				return fmt.Errorf("forward %q: %w", fw.Text, err)
			}
		}
		line, err := f.Start(ctx, fw, ln)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "forwarding %s\n", output.Printable(line))
	}
	if _, err := fmt.Fprint(t.stdout, lines.String()); err != nil {
		return err
	}
	if flags.auto {
		return t.forwardAuto(ctx, f, flags.bind)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.Done():
		return c.Err()
	}
}

// forwardAuto forwards each port of the guest while it listens.
func (t *tool) forwardAuto(ctx context.Context, f *forwarding.Forwarder, bind string) error {
	open := map[uint16]net.Listener{} // nil for a port that cannot be forwarded
	for list, err := range f.Client().WatchPorts(ctx) {
		if err != nil {
			return err
		}
		now := map[uint16]bool{}
		for _, p := range list {
			// A port on another address cannot be reached by localhost.
			if ip := p.Addr.Addr(); !ip.IsLoopback() && !ip.IsUnspecified() || now[p.Addr.Port()] {
				continue
			}
			port := p.Addr.Port()
			now[port] = true
			if _, ok := open[port]; !ok {
				open[port] = t.autoPort(ctx, f, bind, port)
			}
		}
		for port, ln := range open {
			if now[port] {
				continue
			}
			delete(open, port)
			if ln != nil {
				ln.Close()
				fmt.Fprintf(t.stdout, "closed %v\n", ln.Addr())
			}
		}
	}
	return nil
}

// autoPort forwards one port.
func (t *tool) autoPort(ctx context.Context, f *forwarding.Forwarder, bind string, port uint16) net.Listener {
	fw := forwarding.SamePort(bind, port)
	ln, err := forwarding.Listen(ctx, fw.From)
	if err != nil {
		f.Say("port %d is not forwarded: %v", port, err)
		return nil
	}
	line, err := f.Start(ctx, &fw, ln)
	if err != nil {
		f.Say("%v", err)
		return nil
	}
	fmt.Fprintf(t.stdout, "forwarding %s\n", output.Printable(line))
	return ln
}
