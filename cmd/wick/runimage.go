//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/forwarding"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// imageFlags has the flags of wick run about a container image.
type imageFlags struct {
	image, entrypoint, platform, pull string
	// hasEntrypoint says that --entrypoint was given, perhaps as "".
	hasEntrypoint bool
	// source is the image to run, or nil. assumed says that it is the first argument.
	source  *oci.Source
	assumed bool
}

// dockerPath is the PATH of an image that sets none, as docker has it.
const dockerPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (f *imageFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", "", "container `IMAGE` to run; all arguments are then the command")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "`PROGRAM` instead of the image's entrypoint and command")
	addPlatform(cmd, &f.platform)
	flags.StringVar(&f.pull, "pull", string(oci.Missing), "`WHEN` to pull the image: always, missing or never")
	cmd.RegisterFlagCompletionFunc("pull", cobra.FixedCompletions([]string{"always", "missing", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// addPlatform adds the flag --platform.
func addPlatform(cmd *cobra.Command, platform *string) {
	cmd.Flags().StringVar(platform, "platform", "", "`PLATFORM` of the image, such as linux/arm64 (default: the machine's)")
	cmd.RegisterFlagCompletionFunc("platform", cobra.FixedCompletions([]string{"linux/amd64", "linux/arm64"}, cobra.ShellCompDirectiveNoFileComp))
}

// choose decides whether the arguments begin with an image. It returns those that are the command.
// The first argument is an image, unless it follows --, or --rootfs or --image is given. A single
// argument of -c is a line.
func (f *imageFlags) choose(
	cmd *cobra.Command, args []string, rootfs string, line bool,
) ([]string, error) {
	f.hasEntrypoint = cmd.Flags().Changed("entrypoint")
	if f.image != "" && rootfs != "" {
		return nil, errors.New("--image and --rootfs are two roots; leave one of them out")
	}
	text := f.image
	if text == "" && rootfs == "" && len(args) > 0 && cmd.ArgsLenAtDash() != 0 && !(line && len(args) == 1) {
		text, args, f.assumed = args[0], args[1:], true
		if len(args) > 0 && args[0] == "--" {
			args = args[1:] // wick run alpine -- ls
		}
	}
	if text == "" {
		for _, name := range []string{"entrypoint", "platform", "pull"} {
			if cmd.Flags().Changed(name) {
				return nil, fmt.Errorf("--%s is for an IMAGE, which is missing", name)
			}
		}
		return args, nil
	}
	var err error
	if f.source, err = oci.ParseSource(text); err != nil {
		return nil, f.explain(err)
	}
	if !slices.Contains([]string{"always", "missing", "never"}, f.pull) {
		return nil, fmt.Errorf("--pull %s: want always, missing or never", f.pull)
	}
	_, err = cache.Limit()
	return args, err
}

// explain adds what else the argument could have meant to the error of an image.
func (f *imageFlags) explain(err error) error {
	if _, wrong := errors.AsType[*oci.PlatformError](err); wrong || !f.assumed {
		return err
	}
	first := ""
	if f.source != nil {
		first = f.source.Text()
	} else if bad, ok := errors.AsType[*oci.SourceError](err); ok {
		first = bad.Text
	}
	if strings.ContainsAny(first, " \t\n") {
		return fmt.Errorf("%w\nit was taken for an image; for a line of the shell in the default system: wick run -c %s", err, shellQuote(first))
	}
	if _, there := os.Stat(first); there == nil {
		return fmt.Errorf("%w\n%s was taken for an image; for the file of that name: wick run --rootfs %[2]s", err, shellQuote(first))
	}
	if strings.ContainsAny(first, ":/@") {
		return err // it cannot be meant as a command
	}
	return fmt.Errorf("%w\n%s was taken for an image; for a command in the default system: wick run -- %[2]s", err, shellQuote(first))
}

// settlePlatform returns the platform of the image, and the architecture of the machine.
func settlePlatform(platform, arch string) (v1.Platform, string, error) {
	if platform == "" {
		if arch == "" {
			arch = runtime.GOARCH
		}
		return v1.Platform{OS: "linux", Architecture: arch}, arch, nil
	}
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		return p, "", fmt.Errorf("--%w", err)
	}
	if arch != "" && arch != p.Architecture {
		return p, "", fmt.Errorf("--arch %s and --platform %s contradict each other; leave one of them out", arch, platform)
	}
	if !slices.Contains(vmm.Archs(), p.Architecture) {
		return p, "", fmt.Errorf("--platform %s: want linux/%s", platform, strings.Join(vmm.Archs(), " or linux/"))
	}
	return p, p.Architecture, nil
}

// open opens the image, and pulls it if it has to.
func (f *imageFlags) open(ctx context.Context, ui *runUI, p v1.Platform) (*oci.Image, error) {
	dir, err := cache.Default()
	if err != nil {
		return nil, err
	}
	img, err := ui.store(dir).Open(ctx, f.source, p, oci.Policy(f.pull))
	if err != nil {
		return nil, f.explain(err)
	}
	return img, nil
}

// configure completes the flags of the command by the image's configuration, and returns the whole
// command.
func (f *imageFlags) configure(flags *sessionFlags, img *oci.Image, args []string) ([]string, error) {
	c := &img.Config.Config
	assigned := slices.DeleteFunc(slices.Clone(c.Env), func(entry string) bool { return strings.Index(entry, "=") < 1 })
	flags.env = mergeEnv([]string{dockerPath}, assigned, flags.env)
	if flags.user == "" {
		flags.user = c.User
	}
	if flags.dir == "" {
		flags.dir = c.WorkingDir
	}
	if flags.line {
		return args, nil // for the image's shell
	}
	words := slices.Clone(c.Entrypoint)
	if len(words) == 1 && words[0] == "" {
		words = nil // as docker has it
	}
	switch {
	case f.hasEntrypoint && f.entrypoint == "":
		words = nil
	case f.hasEntrypoint:
		words = []string{f.entrypoint}
	case len(args) == 0:
		args = c.Cmd
	}
	if words = append(words, args...); len(words) == 0 {
		return nil, fmt.Errorf("%s names no command of its own; give one: wick run %[1]s COMMAND", img.Name)
	}
	return words, nil
}

// longestPasswd limits how much of a guest's /etc/passwd is read.
const longestPasswd = 1 << 20

// imageUser returns the user of a command from an image. As in docker, a number that /etc/passwd
// does not have gets root's group, and a group alone is root's.
func imageUser(ctx context.Context, c *client.Client, user string) string {
	if strings.HasPrefix(user, ":") {
		return "0" + user
	}
	if _, err := strconv.ParseUint(user, 10, 32); err != nil {
		return user
	}
	if r, err := c.OpenRead(ctx, "/etc/passwd", 0, longestPasswd); err == nil {
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if fields := strings.Split(lines.Text(), ":"); fields[0] == user || len(fields) > 2 && fields[2] == user {
				return user
			}
		}
	}
	return user + ":0"
}

// makeDir makes the working directory of a command from an image, as docker does.
func makeDir(ctx context.Context, c *client.Client, dir string) error {
	if !strings.HasPrefix(dir, "/") {
		return nil // the guest refuses it
	}
	return c.MkdirAll(ctx, dir, 0o755)
}

// exposedPorts returns the forwards of the TCP ports that an image exposes, each from a free port.
func exposedPorts(img *oci.Image) (forwards []forwarding.Forward) {
	for _, port := range slices.Sorted(maps.Keys(img.Config.Config.ExposedPorts)) {
		number, protocol, _ := strings.Cut(port, "/")
		if protocol != "" && protocol != "tcp" {
			continue // only TCP can be forwarded
		}
		if fw, err := forwarding.Parse("0:"+number, forwarding.DefaultBind, false); err == nil {
			forwards = append(forwards, fw)
		}
	}
	return forwards
}
