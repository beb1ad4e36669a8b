package main

import (
	"context"
	"io"
	"net"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/forwarding"
	"wick/framing/client"
)

// ncCommand returns "wick nc".
func (t *tool) ncCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nc HOST PORT | nc unix:PATH",
		Short: "Connect stdin and stdout to a port in the guest",
		Long: `Connect to a port or Unix socket in the guest. Stdin is sent to the connection, and its
output goes to stdout. The end of stdin shuts down the writing side. wick nc exits when the
other side has ended.

HOST is an IP address or localhost, and PORT is a number. unix:PATH or /PATH is a Unix socket, and
@NAME an abstract one.`,
		Example: `  printf 'GET / HTTP/1.0\r\n\r\n' | wick nc localhost 80
  ssh -o ProxyCommand='wick --to vsock:7 nc localhost 22' root@guest`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return needs("HOST", "PORT")(cmd, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := forwarding.ParseTarget(args)
			if err != nil {
				return exit.Usage(err)
			}
			return t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
				conn, err := c.DialContext(ctx, to.Network, to.Address)
				if err != nil {
					return err
				}
				return t.converse(conn)
			})(cmd, args)
		},
	}
}

// converse copies stdin to conn, and conn to stdout.
func (t *tool) converse(conn net.Conn) error {
	defer conn.Close()
	go func() {
		// A read of a keyboard may still block when the other side has ended.
		if _, err := io.Copy(conn, t.stdin); err == nil {
			conn.(*client.Conn).CloseWrite()
		}
	}()
	_, err := io.Copy(t.stdout, conn)
	return err
}
