//go:build linux

package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/vhostvsock"
)

// deviceCommand returns wick device.
func (t *tool) deviceCommand() *cobra.Command {
	config := vhostvsock.Config{GuestCID: 3}
	cmd := &cobra.Command{
		Use:   "device --vhost SOCKET --uds SOCKET",
		Short: "Serve the vsock device of a QEMU that you start yourself",
		Long: `Serve the vsock device of one QEMU, on a host without /dev/vhost-vsock or for a user without
access to it. QEMU connects to the socket of --vhost and gives the guest a vsock device.
The host reaches the guest through the socket of --uds, as with Firecracker.

Both sockets exist once wick logs "waiting for QEMU" to stderr, and are removed when it
ends. It serves until QEMU disconnects.`,
		Example: `  wick device --vhost vhost.sock --uds v.sock &
  qemu-system-x86_64 ... -object memory-backend-memfd,id=mem,share=on,size=128M \
      -chardev socket,id=vsock,path=vhost.sock -device vhost-user-vsock-device,chardev=vsock
  wick --to firecracker:v.sock exec -- uname -a`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config.VhostSocket == "" || config.UDS == "" {
				return exit.Usage(errors.New("device: --vhost and --uds are required"))
			}
			config.Logger = slog.New(slog.NewTextHandler(t.stderr, nil))
			device, err := vhostvsock.New(config)
			if err != nil {
				return err
			}
			defer device.Close()
			config.Logger.Info("waiting for QEMU", "vhost", config.VhostSocket, "uds", config.UDS)
			return device.Serve(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&config.VhostSocket, "vhost", "", "`socket` that QEMU connects to")
	flags.StringVar(&config.UDS, "uds", "", "`socket` for the host's programs, with Firecracker's conventions")
	flags.Uint64Var(&config.GuestCID, "cid", config.GuestCID, "the guest's CID")
	return cmd
}
