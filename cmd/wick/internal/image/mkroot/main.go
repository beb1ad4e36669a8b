// Command mkroot makes a root image and writes it to a file. scripts/build-rootfs runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
)

func main() {
	init := flag.String("init", "", "the `vm-init` to put in")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mkroot -init FILE SOURCE OUT\nSOURCE is a directory, a tar (gzip too), a squashfs, or \"\" for a busybox system")
	}
	flag.Parse()
	if flag.NArg() != 2 || *init == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := produce(ctx, *init, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "mkroot:", err)
		os.Exit(1)
	}
}

func produce(ctx context.Context, init, source, out string) error {
	dir, err := cache.Default()
	if err != nil {
		return err
	}
	root, err := image.Build(ctx, dir, runtime.GOARCH, source, init)
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, root.Notes)
	if err := image.Save(root.Path, out); err != nil {
		return err
	}
	fmt.Printf("%s: boot it with init=%s\n", out, root.Init)
	return nil
}
