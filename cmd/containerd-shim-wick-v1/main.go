// Command containerd-shim-wick-v1 is the runtime io.containerd.wick.v1 of containerd. It runs each
// container, or each pod, in a microVM of its own.
//
// containerd calls it with an action. "start" starts the shim's server and prints its address, and
// "delete" cleans up after a shim that was killed. Without an action it is the server, which has
// containerd's Task service, version 3, on the socket that it inherits.
//
// README.md says how containerd is told of it, and what it does otherwise than runc's shim.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"github.com/containerd/containerd/api/types"
)

// runtimeName is the name by which containerd knows this runtime.
const runtimeName = "io.containerd.wick.v1"

// options are what containerd passes on the command line and in the environment.
type options struct {
	namespace, id, address, bundle string
	events                         string // the socket for events
	debug                          bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "hold" {
		hold()
		return
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "containerd-shim-wick-v1: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	o := options{events: os.Getenv("TTRPC_ADDRESS")}
	var version, info bool
	flag.StringVar(&o.namespace, "namespace", "", "the `NAME` of containerd's namespace")
	flag.StringVar(&o.id, "id", "", "the `ID` of the task")
	flag.StringVar(&o.address, "address", "", "containerd's `SOCKET`")
	flag.StringVar(&o.bundle, "bundle", "", "the bundle's `DIR`; the working directory by default")
	flag.BoolVar(&o.debug, "debug", false, "log more")
	flag.BoolVar(&version, "v", false, "print the version")
	flag.BoolVar(&info, "info", false, "print the runtime's description, as containerd reads it")
	flag.String("publish-binary", "", "ignored; events go to the socket in TTRPC_ADDRESS")
	flag.String("socket", "", "ignored")
	flag.Parse()
	switch {
	case version:
		fmt.Printf("containerd-shim-wick-v1:\n  Version:  %s\n", moduleVersion())
		return nil
	case info:
		return printInfo()
	case o.namespace == "" || o.id == "":
		return fmt.Errorf("containerd starts this program; it needs -namespace and -id")
	}
	if o.bundle == "" {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		o.bundle = dir
	}
	switch action := flag.Arg(0); action {
	case "start":
		io.Copy(io.Discard, os.Stdin) // options of the runtime, which has none
		return start(&o, os.Stdout)
	case "delete":
		return cleanUp(&o, os.Stdout)
	case "":
		return serve(context.Background(), &o)
	default:
		return fmt.Errorf("unknown action %q", action)
	}
}

// moduleVersion returns the version that this program was built from.
func moduleVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "unknown"
}

func printInfo() error {
	b, err := proto.Marshal(&types.RuntimeInfo{
		Name: runtimeName, Version: &types.RuntimeVersion{Version: moduleVersion()},
		Annotations: map[string]string{allowMountsAnnotation: allowMounts},
	})
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	return err
}
