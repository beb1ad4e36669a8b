package help

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wick/cmd/wick/internal/exit"
)

// dockerCommands says what to do instead of a command of docker's that wick lacks. One of two words
// is found before the first alone.
var dockerCommands = map[string]string{
	"build":           "wick builds no images; build with docker, podman or buildah, then wick run docker-archive:FILE",
	"buildx":          "wick builds no images; build with docker, podman or buildah, then wick run docker-archive:FILE",
	"builder":         "wick builds no images, so there is no cache of builds; wick cache prune is for images",
	"checkpoint":      "say wick snapshot MACHINE DIR",
	"commit":          "a machine does not become an image; wick cp and wick run --out copy its files out",
	"compose":         "start each machine by wick run -d --restart always, or by a unit of systemd",
	"container":       "leave the word container out, as in wick list, wick logs and wick rm",
	"container ls":    "say wick list",
	"container prune": "say wick rm $(wick list -aq)",
	"context":         "there is no daemon to choose; --to names a guest anywhere",
	"create":          "wick run -d makes a machine and starts it",
	"diff":            "the guest shows it: wick exec MACHINE find / -xdev -newer /proc/1",
	"events":          "wick wait waits for the end of a machine, and wick watch shows changes of files",
	"export":          "say wick exec MACHINE tar -cC / --one-file-system . >FILE",
	"history":         "wick inspect IMAGE shows the configuration and the layers",
	"image":           "say wick images, wick pull, wick rmi or wick inspect",
	"image inspect":   "say wick inspect",
	"image ls":        "say wick images",
	"image prune":     "say wick cache prune",
	"image pull":      "say wick pull",
	"image rm":        "say wick rmi",
	"import":          "wick run --rootfs FILE takes a tar of a file system",
	"login":           "wick uses the credentials of docker login and podman login",
	"logout":          "wick uses the credentials of docker login and podman login",
	"manifest":        "wick pull --platform chooses one of a list of images",
	"network":         "wick run -p publishes ports, and --net chooses the machine's network",
	"plugin":          "there are no plugins",
	"push":            "wick changes no images; push with docker, podman or skopeo",
	"search":          "look on the registry's own page, then wick pull",
	"stack":           "start each machine by wick run -d",
	"swarm":           "a machine is run on one host, by wick run there",
	"system":          "say wick cache du or wick cache prune",
	"system df":       "say wick cache du and wick volume ls",
	"system events":   "wick wait waits for the end of a machine",
	"system info":     "say wick version, or wick info MACHINE",
	"system prune":    "say wick rm $(wick list -aq) and wick cache prune",
	"tag":             "an image keeps the name by which it was pulled",
	"update":          "wick rm it, and wick run it with other flags; disks of -v NAME:PATH stay",
	"volume create":   "wick run -v NAME:PATH makes the disk at first use",
	"volume inspect":  "say wick volume ls --json",
	"volume prune":    "say wick volume rm NAME...; wick volume ls shows which are free",
}

// Hints for more than one flag.
const (
	ownMemory   = "-m is all the memory that the machine has"
	ownCPUs     = "--cpus is the number of processors that the machine has"
	ownDevices  = "a machine has devices of its own; --drive FILE gives it a disk"
	ownKernel   = "a machine has a kernel of its own, with its own namespaces and cgroups"
	ownLinks    = "machines meet at published ports (-p), or on tap devices of yours (--net tap=NAME)"
	ownDisk     = "the machine's disk is bounded by --overlay-size"
	ownProbe    = "probes are for services, which the image's /etc/vm-init.conf names"
	ownLog      = "wick logs has the newest 8 to 16 MiB of the output"
	allShown    = "nothing is cut"
	newestFirst = "the newest machine is the first line"
	attachThen  = "say wick attach MACHINE after wick start"
	noBar       = "the progress is shown on a terminal alone"
)

// dockerFlags says what to do instead of a flag of docker's that wick lacks. One behind the name of
// a command is found before the flag alone. Flags of one letter are such, too.
var dockerFlags = map[string]string{
	"device": ownDevices, "gpus": ownDevices, "device-cgroup-rule": ownDevices,
	"memory-swap": ownMemory, "memory-reservation": ownMemory, "memory-swappiness": ownMemory, "kernel-memory": ownMemory,
	"oom-kill-disable": ownMemory, "oom-score-adj": ownMemory,
	"cpuset-cpus": ownCPUs, "cpuset-mems": ownCPUs, "cpu-shares": ownCPUs, "cpu-period": ownCPUs, "cpu-quota": ownCPUs,
	"link": ownLinks, "network-alias": ownLinks, "ip": ownLinks, "ip6": ownLinks, "mac-address": ownLinks, "link-local-ip": ownLinks,
	"cgroup-parent": ownKernel, "cgroupns": ownKernel, "userns": ownKernel, "runtime": ownKernel, "isolation": ownKernel,
	"blkio-weight": ownDisk, "blkio-weight-device": ownDisk, "storage-opt": ownDisk, "size": ownDisk,
	"health-cmd": ownProbe, "health-interval": ownProbe, "health-retries": ownProbe, "health-start-period": ownProbe,
	"health-timeout": ownProbe, "no-healthcheck": "the HEALTHCHECK of an image is not run",
	"log-driver": ownLog, "log-opt": ownLog, "details": ownLog,
	"no-trunc": allShown, "digests": "--json shows the digests",
	"attach": "without -d the streams are attached; wick attach comes back to a machine of -d", "run a": "without -d the streams are attached; wick attach comes back to a machine of -d",
	"start attach": attachThen, "start a": attachThen, "start i": attachThen, "start interactive": attachThen,
	"start checkpoint": "say wick run --from DIR",
	"cp quiet":         noBar, "cp q": noBar, "images filter": "wick images NAME shows those of a name", "images f": "wick images NAME shows those of a name",
	"detach-keys":     "the keys are Ctrl-P Ctrl-Q",
	"sig-proxy":       "signals reach the command of wick run; wick attach passes them on with --kill",
	"expose":          "any port can be published, by -p HOST:GUEST",
	"group-add":       "-u USER:GROUP sets the group, and the guest's /etc/group adds others",
	"sysctl":          "--init-arg=--sysctl=NAME=VALUE sets one at boot",
	"pids-limit":      "--ulimit nproc=NUMBER limits the processes",
	"shm-size":        "--tmpfs /dev/shm:size=SIZE",
	"volumes-from":    "give the same -v to both machines; a disk of -v NAME:PATH has one machine at a time",
	"volume-driver":   "-v HOST:GUEST shares a directory, and -v NAME:GUEST is a disk",
	"exec privileged": "-u root is enough, because the machine is the wall",
	"stats no-stream": "wick stats prints once, unless --watch is given",
	"stats all":       "wick list -a shows all machines",
	"stats a":         "wick list -a shows all machines",
	"rm volumes":      "disks of -v NAME:PATH stay until wick volume rm NAME",
	"rm v":            "disks of -v NAME:PATH stay until wick volume rm NAME",
	"cp follow-link":  "name the target of the link",
	"cp L":            "name the target of the link",
	"pull all-tags":   "name each tag",
	"pull a":          "name each tag",
	"last":            newestFirst,
	"latest":          newestFirst,
	"ps n":            newestFirst, "ps l": newestFirst, "list n": newestFirst,
	"list l":                    newestFirst,
	"run disable-content-trust": "name the image by its digest",
}

// InsteadOf says what to do instead of a command of docker's, of one word or two. It returns "" for
// any other.
func InsteadOf(command string) string { return dockerCommands[command] }

// InsteadOfFlag says what to do instead of a flag of a command of docker's. It returns "" for any
// other.
func InsteadOfFlag(command, flag string) string {
	hint := dockerFlags[command+" "+flag]
	if hint == "" && len(flag) > 1 {
		hint = dockerFlags[flag]
	}
	return hint
}

// CommandError returns err, or what to do instead if it is about an unknown command.
func CommandError(root *cobra.Command, args []string, err error) error {
	var word string
	if _, own := errors.AsType[*exit.Error](err); own {
		return err
	}
	if n, _ := fmt.Sscanf(err.Error(), "unknown command %q", &word); n != 1 {
		return err
	}
	words := []string{word}
	for i, arg := range args {
		if arg == word && i+1 < len(args) {
			words = append(words, args[i+1])
			break
		}
	}
	return unknownCommand(root, words)
}

// unknownCommand returns the error of an unknown command of cmd, which may be of two words.
func unknownCommand(cmd *cobra.Command, words []string) error {
	err := fmt.Errorf("unknown command %q for %q", words[0], cmd.CommandPath())
	if cmd.HasParent() {
		words = append([]string{cmd.Name()}, words...)
	}
	hint := ""
	if len(words) > 1 {
		hint = InsteadOf(words[0] + " " + words[1])
	}
	if hint == "" && !cmd.HasParent() {
		hint = InsteadOf(words[0])
	}
	if hint == "" {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		if near := nearest(words[len(words)-1], names); cmd.HasParent() && near != "" {
			hint = "did you mean " + near + "?"
		} else if near := nearest(words[0], names); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	if hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	return exit.Usage(err)
}

// RefuseOthers makes a command that only has subcommands refuse other words, for which cobra would
// print its help text and succeed.
func RefuseOthers(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		RefuseOthers(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.FParseErrWhitelist.UnknownFlags = true // they are the other command's
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[:1])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// FlagError adds what to do instead to the error of an unknown flag.
func FlagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	name := unknown.GetSpecifiedName()
	hint := InsteadOfFlag(cmd.Name(), name)
	if hint == "" && len(name) > 1 {
		var names []string
		add := func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
		cmd.Flags().VisitAll(add)
		cmd.InheritedFlags().VisitAll(add)
		if near := nearest(name, names); near != "" {
			hint = "did you mean --" + near + "?"
		}
	}
	if hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// nearest returns the name that word most likely means, or "".
func nearest(word string, names []string) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, name := range names {
		if d := distance(word, name); d < least {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	for _, name := range names {
		if len(word) > 1 && strings.HasPrefix(name, word) {
			return name
		}
	}
	return ""
}

// distance returns how many letters have to be inserted, removed, replaced or swapped with their
// neighbour to make b of a.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last = last, next
	}
	return last[len(b)]
}
