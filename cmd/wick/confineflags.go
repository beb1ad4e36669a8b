package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/framing"
)

// confineFlags has the flags that confine a command.
type confineFlags struct {
	options framing.ConfineOptions
	filter  string // a file of this machine
	join    string
}

// confineUsages has the flags that framing.ConfineOptions knows, with their usage. Those without a
// value in back quotes are switches.
var confineUsages = []struct{ name, usage string }{
	{"cap-drop", "drop these capabilities: a `LIST` like NET_RAW,SYS_ADMIN, or ALL; may be repeated"},
	{"cap-add", "keep or give these capabilities in a `LIST`; may be repeated"},
	{"no-new-privs", "let no program gain privileges when it is executed"},
	{"read-only", "make the root file system read-only for the command"},
	{"read-only-path", "make this `PATH` read-only; may be repeated"},
	{"mask", "hide the content of this `PATH`; may be repeated"},
	{"mount-tmpfs", "mount an empty tmpfs at this `DIR`; may be repeated"},
	{"root-dir", "make this `DIR` of the guest the root, with a /proc and a small /dev"},
	{"pid", "private: a pid `NAMESPACE` of its own, in which the command is process 1"},
	{"network", "private: a network `NAMESPACE` of its own, with lo alone"},
	{"ipc", "private: an IPC `NAMESPACE` of its own"},
	{"uts", "private: a UTS `NAMESPACE` of its own, which has the host name"},
}

// confinement has the names of the flags, for the help text.
const confinement = "cap-drop cap-add no-new-privs security-opt seccomp read-only read-only-path mask mount-tmpfs root-dir pid ipc uts join"

func (f *confineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, u := range confineUsages {
		isSwitch := u.name == "no-new-privs" || u.name == "read-only"
		set := func(value string) error {
			if isSwitch {
				on, err := strconv.ParseBool(value)
				if err != nil {
					return err
				}
				value = map[bool]string{true: "yes", false: "no"}[on]
			}
			if value == "host" && (u.name == "pid" || u.name == "ipc" || u.name == "uts") {
				return nil // docker's word for the machine's own
			}
			if reason := f.options.Set(u.name, value); reason != "" {
				return errors.New(reason)
			}
			return nil
		}
		if isSwitch {
			flags.BoolFunc(u.name, u.usage, set)
			continue
		}
		flags.Func(u.name, u.usage, set)
		complete := cobra.NoFileCompletions
		switch u.name {
		case "pid", "network", "ipc", "uts":
			complete = cobra.FixedCompletions([]string{"private"}, cobra.ShellCompDirectiveNoFileComp)
		}
		cmd.RegisterFlagCompletionFunc(u.name, complete)
	}
	flags.Func("security-opt", "docker's `OPTION`: no-new-privileges, or seccomp=FILE with a filter as for --seccomp", f.parseSecurity)
	flags.StringVar(&f.filter, "seccomp", "", "install the seccomp filter in this `FILE`: struct sock_filter, as seccomp_export_bpf(3) writes it")
	flags.StringVar(&f.join, "join", "", "join the namespaces, and so the root, of the running command with this `ID`")
	cmd.RegisterFlagCompletionFunc("join", cobra.NoFileCompletions)
}

// given reports whether a flag is given.
func (f *confineFlags) given() bool {
	c := f.options.Confinement()
	return c.Any() || f.filter != "" || f.join != ""
}

// confinement returns what the flags describe. tty says that the command has a terminal.
func (f *confineFlags) confinement(tty bool) (framing.Confinement, error) {
	o := f.options
	o.Terminal = tty
	if f.join != "" {
		id, err := strconv.ParseUint(f.join, 16, 64)
		if err != nil || id == 0 {
			return framing.Confinement{}, fmt.Errorf("--join: %q is not the id of a command, as wick exec --detach prints it", f.join)
		}
		if o.Join = id; o.Own != 0 || o.Root != "" || o.ReadOnly || len(o.Masked)+len(o.ReadOnlyPaths)+len(o.Tmpfs) > 0 {
			return framing.Confinement{}, errors.New("--join takes the namespaces of another command; it cannot have its own, nor mounts")
		}
	}
	if f.filter != "" {
		var err error
		if o.Filter, err = readFilter(f.filter); err != nil {
			return framing.Confinement{}, fmt.Errorf("--seccomp: %w", err)
		}
	}
	return o.Confinement(), nil
}

// readFilter reads a seccomp filter, and checks its length.
func readFilter(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || len(b)%framing.FilterSize != 0 || len(b) > framing.MaxFilter*framing.FilterSize {
		return nil, fmt.Errorf("%s has %d bytes, not 1 to %d instructions of %d bytes", path, len(b), framing.MaxFilter, framing.FilterSize)
	}
	return b, nil
}

// parseSecurity takes a value of --security-opt.
func (f *confineFlags) parseSecurity(s string) error {
	key, value, _ := strings.Cut(strings.Replace(s, ":", "=", 1), "=")
	switch {
	case key == "no-new-privileges" && (value == "" || value == "true"):
		f.options.Set("no-new-privs", "")
	case key == "no-new-privileges" && value == "false":
	case key == "seccomp" && value != "" && value != "unconfined":
		f.filter = value
	case key == "seccomp" && value == "unconfined", key == "apparmor" && value == "unconfined", s == "label=disable", s == "label:disable":
		// There is no profile to begin with.
	default:
		return fmt.Errorf("%q: want no-new-privileges, seccomp=FILE or seccomp=unconfined", s)
	}
	return nil
}
