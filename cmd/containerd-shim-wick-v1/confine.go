package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wick/framing"
	"wick/framing/client"
)

// shareDir is where the guest has the directories of the host. The container does not see it.
const shareDir = "/.wick"

// command returns the command of a process.
func (c *container) command(p *process) (*client.Cmd, error) {
	vm := c.s.client()
	if vm == nil {
		return nil, status.Error(codes.FailedPrecondition, "the machine has ended")
	}
	spec := p.spec
	cmd := vm.Command(spec.Args[0], spec.Args[1:]...)
	cmd.OnlyEnv, cmd.Env = true, spec.Env
	cmd.Dir = spec.Cwd
	cmd.User = fmt.Sprintf("%d:%d", spec.User.UID, spec.User.GID)
	for _, r := range spec.Rlimits {
		n, ok := limits[strings.ToUpper(r.Type)]
		if !ok {
			return nil, status.Errorf(codes.InvalidArgument, "unknown limit %s", r.Type)
		}
		cmd.Limits = append(cmd.Limits, client.Limit{Resource: n, Soft: r.Soft, Hard: r.Hard})
	}
	conf := &cmd.Confinement
	if p.exec == "" {
		if err := c.confine(conf, p.terminal); err != nil {
			return nil, err
		}
	} else {
		c.init.mu.Lock()
		first := c.init.cmd
		c.init.mu.Unlock()
		if first == nil {
			return nil, status.Error(codes.FailedPrecondition, "the container's first process does not run")
		}
		conf.Join(first.ID(), 0)
	}
	return cmd, restrict(conf, spec)
}

// limits has Linux's numbers of resource limits.
var limits = map[string]uint8{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// restrict adds what restricts one process: capabilities, groups and the like.
func restrict(conf *framing.Confinement, p *specs.Process) error {
	if caps := p.Capabilities; caps != nil {
		var sets [5]uint64
		for i, list := range [][]string{
			caps.Bounding, caps.Effective, caps.Permitted, caps.Inheritable, caps.Ambient,
		} {
			set, ok := uint64(0), true
			if len(list) > 0 {
				set, ok = framing.FindCapabilities(strings.Join(list, ","))
			}
			if !ok {
				return status.Errorf(codes.InvalidArgument, "unknown capability in %s", strings.Join(list, ", "))
			}
			sets[i] = set
		}
		conf.Bounding(sets[0])
		conf.Capabilities(sets[1], sets[2], sets[3], sets[4])
	}
	if p.NoNewPrivileges {
		conf.NoNewPrivs()
	}
	if p.User.Umask != nil {
		conf.Umask(uint16(*p.User.Umask))
	}
	if p.OOMScoreAdj != nil {
		conf.OOMScore(int32(*p.OOMScoreAdj))
	}
	conf.Groups(p.User.AdditionalGids)
	return nil
}

// confine adds the namespaces and the file system of the container's first process.
func (c *container) confine(conf *framing.Confinement, terminal bool) error {
	spec := c.spec
	own := framing.NamespaceMount | framing.NamespacePID | framing.NamespaceIPC | framing.NamespaceUTS |
		framing.NamespaceCgroup
	joined := framing.Namespaces(0)
	if sandbox := c.s.sandbox(c); sandbox != 0 {
		// The containers of a pod share what the spec gives a path of.
		for kind, bit := range map[specs.LinuxNamespaceType]framing.Namespaces{
			specs.IPCNamespace: framing.NamespaceIPC, specs.UTSNamespace: framing.NamespaceUTS,
			specs.PIDNamespace: framing.NamespacePID,
		} {
			if path, _ := namespace(spec, kind); path != "" {
				joined |= bit
			}
		}
		if own &^= joined; joined != 0 {
			conf.Join(sandbox, joined)
		}
	}
	conf.Namespaces(own)
	if own&framing.NamespaceUTS != 0 && (spec.Hostname != "" || spec.Domainname != "") {
		conf.Names(spec.Hostname, spec.Domainname)
	}
	flags := uint8(0)
	if spec.Root != nil && spec.Root.Readonly {
		flags = framing.RootReadOnly
	}
	conf.Root(flags, c.root)
	for i, m := range spec.Mounts {
		if err := c.mount(conf, i, &m); err != nil {
			return err
		}
	}
	addDevices(conf, terminal)
	if l := spec.Linux; l != nil {
		for name, value := range l.Sysctl {
			conf.Sysctl(strings.ReplaceAll(name, ".", "/"), value)
		}
		for _, path := range l.ReadonlyPaths {
			conf.ReadOnly(path)
		}
		for _, path := range l.MaskedPaths {
			conf.Mask(path)
		}
	}
	if c.root == "" {
		conf.Mask(shareDir)
	}
	c.limit(conf)
	return nil
}

// addDevices adds the devices and links that the OCI demands in /dev.
func addDevices(conf *framing.Confinement, terminal bool) {
	const device, everyone = 0o020000, 0o666
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	} {
		conf.Device("/dev/"+d.name, device|everyone, 0, 0, d.major, d.minor)
	}
	for _, l := range [][2]string{
		{"pts/ptmx", "/dev/ptmx"}, {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		conf.Link(l[0], l[1])
	}
	if terminal {
		conf.Console("/dev/console")
	}
}

// mountFlags has the options of mount(8) that are flags. A flag of 0 is accepted and has no effect
// here: the mounts of a machine propagate nowhere.
var mountFlags = map[string]struct {
	set  bool
	flag uint32
}{
	"ro": {true, framing.MountReadOnly}, "rw": {false, framing.MountReadOnly},
	"nosuid": {true, framing.MountNoSUID}, "suid": {false, framing.MountNoSUID},
	"nodev": {true, framing.MountNoDev}, "dev": {false, framing.MountNoDev},
	"noexec": {true, framing.MountNoExec}, "exec": {false, framing.MountNoExec},
	"noatime": {true, framing.MountNoAtime}, "atime": {false, framing.MountNoAtime},
	"sync": {true, unix.MS_SYNCHRONOUS}, "dirsync": {true, unix.MS_DIRSYNC},
	"nodiratime": {true, unix.MS_NODIRATIME}, "relatime": {true, unix.MS_RELATIME},
	"strictatime": {true, unix.MS_STRICTATIME}, "nosymfollow": {true, 1 << 8},
	"bind": {true, framing.MountBind}, "rbind": {true, framing.MountBind | framing.MountRec},
	"private": {}, "rprivate": {}, "slave": {}, "rslave": {}, "unbindable": {}, "runbindable": {},
	"defaults": {}, "async": {}, "rro": {true, framing.MountReadOnly}, "norelatime": {}, "nostrictatime": {},
}

// parseMount returns the flags of a mount and the options of its file system.
func parseMount(options []string) (flags uint32, data []string, err error) {
	for _, option := range options {
		switch f, ok := mountFlags[option]; {
		case option == "shared", option == "rshared":
			return 0, nil, refused("propagate mounts (%s): not supported, because they are in a machine", option)
		case option == "idmap", option == "ridmap":
			return 0, nil, refused("map the owners of a mount (%s): not supported", option)
		case !ok:
			data = append(data, option)
		case f.set:
			flags |= f.flag
		default:
			flags &^= f.flag
		}
	}
	return flags, data, nil
}

// isBind reports whether a mount of the spec is a directory or file of the host.
func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// guestMounts are the types of mounts that the guest makes by itself.
var guestMounts = map[string]bool{
	"proc": true, "sysfs": true, "tmpfs": true, "devpts": true, "mqueue": true, "cgroup": true, "cgroup2": true,
}

// bindFlags are the flags of a mount that a bind mount can have.
const bindFlags = framing.MountReadOnly | framing.MountNoSUID | framing.MountNoDev | framing.MountNoExec |
	framing.MountNoAtime

// mount adds the spec's mount number i.
func (c *container) mount(conf *framing.Confinement, i int, m *specs.Mount) error {
	flags, data, err := parseMount(m.Options)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Destination, err)
	}
	if isBind(m) && m.Destination == "/dev/shm" {
		// The containers of a pod share that of their machine. One of the host could not be mapped.
		conf.Mount(framing.Mount{
			Create: framing.MountDirectory, Flags: flags&bindFlags | framing.MountBind,
			Source: "/dev/shm", Target: m.Destination,
		})
		return nil
	}
	if isBind(m) {
		share, ok := c.binds[i]
		if !ok {
			return fmt.Errorf("mount %s: not shared", m.Destination)
		}
		if share.nests && !slices.Contains(m.Options, "rro") {
			// The mounts below it stay writable. They are one with it in the guest. On the host it
			// alone is read-only.
			flags &^= framing.MountReadOnly
		}
		create := uint8(framing.MountFile)
		if share.dir {
			create = framing.MountDirectory
		}
		conf.Mount(framing.Mount{
			Create: create, Flags: flags&bindFlags | framing.MountBind, Source: share.guest, Target: m.Destination,
		})
		return nil
	}
	kind := m.Type
	switch kind {
	case "cgroup":
		kind, data = "cgroup2", nil
	case "sysfs":
		// The kernel refuses a second sysfs where the machine has its own.
		conf.Mount(framing.Mount{
			Create: framing.MountDirectory, Flags: flags&bindFlags | framing.MountBind,
			Source: "/sys", Target: m.Destination,
		})
		return nil
	}
	conf.Mount(framing.Mount{
		Create: framing.MountDirectory, Flags: flags, Source: source(m, kind), Target: m.Destination,
		Type: kind, Options: strings.Join(data, ","),
	})
	return nil
}

func source(m *specs.Mount, kind string) string {
	if m.Source == "" {
		return kind
	}
	return m.Source
}

// checkMounts refuses mounts that a machine cannot have.
func checkMounts(spec *specs.Spec) error {
	for _, m := range spec.Mounts {
		if _, _, err := parseMount(m.Options); err != nil {
			return err
		}
		if !isBind(&m) && !guestMounts[m.Type] {
			return refused("mount %s: a file system of type %s is not supported", m.Destination, strconv.Quote(m.Type))
		}
	}
	return nil
}
