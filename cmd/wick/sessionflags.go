package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/units"
	"wick/framing"
	"wick/framing/client"
)

// sessionFlags has the flags of an interactive command in the guest.
type sessionFlags struct {
	commandFlags
	stdin, tty bool
	user, dir  string
	limits     []string
	keep       string
	detach     bool
	keepAll    bool
	waitOutput string
	usage      bool
	confineFlags
}

func (f *sessionFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetNormalizeFunc(dockerNames)
	flags.BoolVarP(&f.stdin, "interactive", "i", false, "pass stdin on")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	f.commandFlags.add(cmd)
	flags.StringVarP(&f.user, "user", "u", "", "run as this `USER` of the guest: USER[:GROUP], each a name or a number")
	flags.StringVarP(&f.dir, "dir", "w", "", "run in this `DIR` in the guest (also --workdir)")
	flags.StringArrayVar(&f.limits, "limit", nil, "limit a resource (also --ulimit): `NAME=SOFT[:HARD]`, such as nofile=1024; may be repeated")
	flags.StringVar(&f.waitOutput, "wait-output", "", "wait this `TIME` for output that other processes hold after the exit (default 100ms)")
	flags.Lookup("wait-output").NoOptDefVal = "forever"
	flags.BoolVar(&f.usage, "usage", false, "print to stderr what the command used: time, memory, I/O")
	cmd.RegisterFlagCompletionFunc("wait-output", cobra.FixedCompletions([]string{"1s", "1m", "forever"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("dir", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("limit", completeLimit)
	f.confineFlags.add(cmd)
}

// addKeep adds the flags for a machine that outlives the command.
func (f *sessionFlags) addKeep(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.keep, "keep", "", "keep the command for this `TIME`, or forever, after its connection is lost")
	flags.BoolVarP(&f.detach, "detach", "d", false, "print the command's id and leave it running, for wick logs and wick attach")
	flags.BoolVar(&f.keepAll, "keep-all", false, "with --detach, the command waits when 64 KiB of its output wait for an attach")
	cmd.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions([]string{"1m", "1h", "forever"}, cobra.ShellCompDirectiveNoFileComp))
}

// wanted returns a given flag that needs the extension, or "".
func (f *sessionFlags) wanted() string {
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{f.stdin, "-i"}, {f.tty, "-t"}, {f.user != "", "--user"}, {f.dir != "", "--dir"}, {len(f.limits) > 0, "--limit"},
		{f.keep != "", "--keep"}, {f.detach, "--detach"}, {f.waitOutput != "", "--wait-output"},
		{f.usage, "--usage"},
		{f.confineFlags.given(), "a confinement"},
	} {
		if flag.set {
			return flag.name
		}
	}
	return ""
}

// command returns the command for the flags and the arguments.
func (f *sessionFlags) command(c *client.Client, args []string) (*client.Cmd, error) {
	if err := f.checkLine(args); err != nil {
		return nil, err
	}
	cmd := c.Command(args[0], args[1:]...)
	if f.line {
		cmd = c.ShellCommand(args[0])
	}
	cmd.Timeout, cmd.Env, cmd.User, cmd.Dir = f.timeout, f.env, f.user, f.dir
	if f.root {
		asRoot(cmd)
	}
	for _, limit := range f.limits {
		l, err := parseLimit(limit)
		if err != nil {
			return nil, exit.Usage(err)
		}
		cmd.Limits = append(cmd.Limits, l)
	}
	var err error
	if cmd.WaitOutput, err = parseTime("--wait-output", f.waitOutput); err != nil {
		return nil, exit.Usage(err)
	}
	switch cmd.Keep, err = parseTime("--keep", f.keep); {
	case err != nil:
		return nil, exit.Usage(err)
	case f.detach && cmd.Keep == 0:
		cmd.Keep = client.KeepForEver
	}
	if cmd.Confinement, err = f.confinement(f.tty); err != nil {
		return nil, exit.Usage(err)
	}
	if name, ok := os.LookupEnv("TERM"); ok && f.tty {
		cmd.Env = append([]string{"TERM=" + name}, cmd.Env...)
	}
	return cmd, nil
}

// asRoot makes cmd run as root. If the agent is not root, cmd runs through sudo -n.
func asRoot(cmd *client.Cmd) {
	words := append([]string{"sh", "-c", `[ "$(id -u)" = 0 ] && exec "$@"; exec sudo -n -- "$@"`, "sh", "env"}, cmd.Env...)
	if cmd.Shell {
		words = append(words, "sh", "-c")
	}
	cmd.Args, cmd.Shell, cmd.Env = append(words, cmd.Args...), false, nil
}

// parseTime parses the time of a flag. For "forever" it returns client.KeepForEver, which is equal
// to client.WaitForEnd.
func parseTime(flag, s string) (time.Duration, error) {
	switch s {
	case "":
		return 0, nil
	case "forever":
		return client.KeepForEver, nil
	}
	d, err := units.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s: %q is neither a time like 10m nor forever", flag, s)
	}
	return d, nil
}

// limitNames has the resources of getrlimit(2) in the order of their numbers.
var limitNames = []string{
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
}

func completeLimit(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, name := range limitNames {
		all = append(all, name+"=")
	}
	return all, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// parseLimit parses NAME=SOFT[:HARD].
func parseLimit(s string) (l client.Limit, err error) {
	name, values, _ := strings.Cut(s, "=")
	soft, hard, two := strings.Cut(values, ":")
	if !two {
		hard = soft
	}
	for i, known := range limitNames {
		if name == known {
			l.Resource = uint8(i)
			if l.Soft, err = parseLimitValue(soft); err == nil {
				l.Hard, err = parseLimitValue(hard)
			}
			if err != nil || l.Soft > l.Hard {
				return l, fmt.Errorf("--limit: %q is not a limit; want NAME=SOFT[:HARD], each a number or unlimited", s)
			}
			return l, nil
		}
	}
	return l, fmt.Errorf("--limit: there is no resource %q; want one of %s", name, strings.Join(limitNames, ", "))
}

func parseLimitValue(s string) (uint64, error) {
	if s == "unlimited" || s == "-1" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// talks reports whether the agent supports interactive commands. An older agent does not.
func talks(ctx context.Context, c *client.Client) (bool, error) {
	h, err := c.Hello(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, exit.NotRun(err)
	}
	return h.Features&framing.FeatureProcesses != 0, nil
}
