//go:build linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/kernel"
)

// guestInit is the path of vm-init in the images.
const guestInit = "/sbin/vm-init"

// kernelCommand returns wick kernel.
func (t *tool) kernelCommand() *cobra.Command {
	var modules []string
	cmd := &cobra.Command{
		Use:   "kernel",
		Short: "Fetch the kernel that wick run uses, and print its path",
		Long: `Fetch Debian's cloud kernel, and make the initramfs that loads the modules a microVM needs
and starts /sbin/vm-init. Both stay in the cache. Their paths are printed on two lines, the
kernel first.`,
		Example:           `  wick kernel | { read -r kernel; read -r initrd; qemu-system-x86_64 -kernel "$kernel" -initrd "$initrd" ...; }`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := cache.Default()
			if err != nil {
				return err
			}
			k, err := kernel.Debian(cmd.Context(), dir, runtime.GOARCH)
			if err != nil {
				return err
			}
			initramfs, err := k.Initramfs(cmd.Context(), dir, kernel.Initramfs{Init: guestInit, Extra: modules})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(t.stdout, "%s\n%s\n", k.Image, initramfs)
			return err
		},
	}
	cmd.Flags().StringArrayVar(&modules, "module", nil, "load another `MODULE`, such as virtio_net; may be repeated")
	return cmd
}
