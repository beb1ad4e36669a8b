package launch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// namespaceFlags has the CLONE_NEW flag of each kind of namespace, in the order of the bits.
var namespaceFlags = [...]uintptr{
	unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS,
	unix.CLONE_NEWCGROUP,
}

// cloneFlags returns the CLONE_NEW flags of kinds of namespaces.
func cloneFlags(kinds uint64) (flags uintptr) {
	for i, flag := range namespaceFlags {
		if kinds>>i&1 != 0 {
			flags |= flag
		}
	}
	return flags
}

// Confine has spec start the process as c says. terminal is the agent's side of the process's
// terminal, or -1. join returns the pidfd and the namespaces of a running process by its id; pidfd
// is 0 without one.
//
// The error wraps ESRCH if the process to join is not there, and EINVAL for a terminal that is not.
func Confine(
	spec *reactor.Command, c framing.Confinement, terminal int,
	join func(id uint64) (pidfd int, namespaces uintptr),
) *Failure {
	r := &reactor.Confinement{Umask: -1}
	spec.Confinement = r
	for e := range c.All {
		n := e.Numbers
		text := func(i int) string { return string(e.Texts[i]) }
		switch e.Kind {
		case framing.ConfineNamespaces:
			r.Namespaces = cloneFlags(n[0])
		case framing.ConfineJoin:
			if r.Join, r.Joined = join(n[0]); r.Join == 0 {
				return &Failure{framing.StageNamespace, sys.NewError("join", "process", unix.ESRCH)}
			}
			if n[1] != 0 {
				r.Joined &= cloneFlags(n[1])
			}
		case framing.ConfineNames:
			r.Host, r.Domain = text(0), text(1)
		case framing.ConfineSysctl:
			r.Sysctls = append(r.Sysctls, reactor.Sysctl{Path: "/proc/sys/" + text(0), Value: text(1)})
		case framing.ConfineRoot:
			r.Root, r.ReadOnly = text(0), n[0]&framing.RootReadOnly != 0
		case framing.ConfineBounding:
			r.Dropped = ^n[0]
		case framing.ConfineCapabilities:
			r.Capabilities = &reactor.Capabilities{
				Effective: n[0], Permitted: n[1], Inheritable: n[2], Ambient: n[3],
			}
		case framing.ConfineNoNewPrivs:
			r.NoNewPrivileges = true
		case framing.ConfineSeccomp:
			r.FilterFlags, r.Filter = uintptr(n[0]), e.Texts[0]
		case framing.ConfineUmask:
			r.Umask = int(n[0])
		case framing.ConfineOOMScore:
			spec.OOMScore = sys.Num(int32(n[0]))
		case framing.ConfineLimit: // for the session, which has the cgroup
		case framing.ConfineGroups:
			if spec.User != nil {
				spec.User.Groups = groups(e.Texts[0])
			}
		default:
			ch := reactor.Change{Target: text(0)}
			if failure := setChange(&ch, e, terminal); failure != nil {
				return failure
			}
			r.Changes = append(r.Changes, ch)
		}
	}
	if r.Root == "/" {
		r.Root = ""
	}
	if len(r.Changes) > 0 || r.Root != "" || r.ReadOnly {
		r.Namespaces |= unix.CLONE_NEWNS
	}
	return nil
}

// setChange sets ch, whose target is the first text of e, to what e says.
func setChange(ch *reactor.Change, e *framing.ConfineEntry, terminal int) *Failure {
	n := e.Numbers
	switch e.Kind {
	case framing.ConfineMount:
		ch.Source, ch.Target = ch.Target, string(e.Texts[1])
		ch.Type, ch.Option = string(e.Texts[2]), string(e.Texts[3])
		ch.Flags = uintptr(n[1])
		ch.MakeDirectory = n[0]&framing.MountDirectory != 0
		ch.MakeFile = n[0]&framing.MountFile != 0
	case framing.ConfineDevice:
		ch.Kind, ch.Mode, ch.UID, ch.GID = reactor.ChangeDevice, uint32(n[0]), uint32(n[1]), uint32(n[2])
		ch.Device = unix.Mkdev(uint32(n[3]), uint32(n[4]))
	case framing.ConfineLink:
		ch.Kind, ch.Source, ch.Target = reactor.ChangeLink, ch.Target, string(e.Texts[1])
	case framing.ConfineReadOnly:
		ch.Kind = reactor.ChangeReadOnly
	case framing.ConfineMask:
		ch.Kind = reactor.ChangeMask
	case framing.ConfineConsole:
		number, err := unix.IoctlGetInt(terminal, unix.TIOCGPTN)
		if err != nil {
			return &Failure{framing.StageTerminal, sys.NewError("console", ch.Target, unix.EINVAL)}
		}
		ch.Source, ch.Flags, ch.MakeFile = "/dev/pts/"+sys.Num(number), unix.MS_BIND, true
	}
	return nil
}

// groups decodes the groups of an entry.
func groups(b []byte) (gids []uint32) {
	for ; len(b) >= 4; b = b[4:] {
		gids = append(gids, uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
	}
	return gids
}

// ReadFilter reads a seccomp filter: a regular file of the machine, whose length is that of 1 to
// framing.MaxFilter instructions. The error wraps an errno, EINVAL for another length.
func ReadFilter(path string) ([]byte, error) {
	var r tableReader
	if err := r.open(path); err != nil {
		return nil, err
	}
	defer r.close()
	const most = framing.MaxFilter * framing.FilterSize
	var b []byte
	for r.hasMore() && len(b) <= most {
		b = append(b, r.buf[r.at:r.end]...)
		r.at = r.end
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(b) == 0 || len(b)%framing.FilterSize != 0 || len(b) > most {
		return nil, sys.NewError("filter", path, unix.EINVAL)
	}
	return b, nil
}
