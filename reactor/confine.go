package reactor

import "golang.org/x/sys/unix"

// Confinement restricts what a command sees and may do. The child applies it after its descriptors
// are set up, in the order of the fields; capabilities and the filter come after its user.
type Confinement struct {
	// Join is the pidfd of the process whose namespaces, the CLONE_NEW flags of Joined, the child
	// joins. The caller owns it. It needs Linux 5.8.
	Join   int
	Joined uintptr
	// Namespaces are the CLONE_NEW flags of the namespaces that the child gets of its own. A mount
	// namespace propagates nothing in either direction. The interface lo of a network namespace is
	// up.
	Namespaces uintptr
	// Host and Domain are the names of the child's UTS namespace. Empty to leave them.
	Host, Domain string
	// Sysctls are files of /proc/sys to write.
	Sysctls []Sysctl
	// Root is the directory that becomes the root. Empty for the root of this process.
	Root string
	// Changes are made below the root, in their order. Targets are looked up in that root.
	Changes []Change
	// ReadOnly makes the file system of the root read-only, but not the mounts below it.
	ReadOnly bool
	// Umask is set if it is not negative.
	Umask int
	// Dropped are the capabilities that leave the bounding set, as bits.
	Dropped uint64
	// Capabilities are the sets of the child; nil to leave them.
	Capabilities *Capabilities
	// NoNewPrivileges has no program gain privileges at its execution.
	NoNewPrivileges bool
	// Filter is a seccomp filter: struct sock_filter, 8 bytes each, of this machine's byte order.
	// Without NoNewPrivileges it is in effect before the user changes.
	Filter      []byte
	FilterFlags uintptr
}

// Sysctl is a file to write.
type Sysctl struct{ Path, Value string }

// Capabilities are sets of capabilities, as bits; capabilities(7).
type Capabilities struct{ Effective, Permitted, Inheritable, Ambient uint64 }

// ChangeKind says what a Change does.
type ChangeKind uint8

const (
	// ChangeMount mounts Source of Type at Target, as mount(2) does. With MS_BIND, Source is a path
	// of this process, which is looked up before the root changes.
	ChangeMount ChangeKind = iota
	// ChangeDevice makes a device, unless there is a file at Target.
	ChangeDevice
	// ChangeLink makes a symbolic link to Source, unless there is a file at Target.
	ChangeLink
	// ChangeReadOnly makes Target and the mounts below it read-only, if Target exists.
	ChangeReadOnly
	// ChangeMask hides the content of Target, if it exists.
	ChangeMask
)

// Change is a change of what the child sees of the file system.
type Change struct {
	Kind                         ChangeKind
	Source, Target, Type, Option string
	Flags                        uintptr // MS_ flags
	// MakeDirectory and MakeFile create the target, and the directories above it.
	MakeDirectory, MakeFile bool
	// Mode, UID, GID and Device are those of a device; mknod(2).
	Mode, UID, GID uint32
	Device         uint64
}

// pids returns CLONE_NEWPID if the fork itself enters a pid namespace.
func (c *Confinement) pids() uintptr {
	if c == nil {
		return 0
	}
	return (c.Namespaces | c.Joined) & unix.CLONE_NEWPID
}

// refused reports whether a failed fork may be about the pid namespace.
func (c *Confinement) refused(err error) bool {
	if c.pids() == 0 {
		return false
	}
	switch err {
	case unix.EINVAL, unix.EPERM, unix.ENOSPC, unix.EUSERS, unix.ESRCH:
		return true
	}
	return false
}

// forkFlags returns the flags of the fork, and sets the namespace that b joins.
func (c *Confinement) forkFlags(b *forkBlock, self int) uintptr {
	if c.pids() == 0 {
		return 0
	}
	if c.Joined&unix.CLONE_NEWPID != 0 {
		b.join, b.self = uintptr(c.Join), uintptr(self)
	}
	return c.Namespaces & unix.CLONE_NEWPID
}

const (
	confineSteps  = 220 // the most steps that no list determines
	confineBytes  = 1 << 10
	changeSteps   = 8
	changeBytes   = 256
	sysctlSteps   = 3
	openTreeClone = unix.OPEN_TREE_CLONE | unix.O_CLOEXEC
	// readOnlyFlags are those of mounts that a command cannot use otherwise.
	readOnlyFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	// absent has the errnos of a path that does not exist.
	absent = 1<<unix.ENOENT | 1<<unix.ENOTDIR
)

// size returns limits of the number of steps and of the bytes that they point to.
func (c *Confinement) size() (steps, bytes int) {
	steps = confineSteps + sysctlSteps*len(c.Sysctls)
	bytes = confineBytes + len(c.Host) + len(c.Domain) + len(c.Root) + len(c.Filter)
	for i := range c.Sysctls {
		bytes += len(c.Sysctls[i].Path) + len(c.Sysctls[i].Value) + 32
	}
	for i := range c.Changes {
		ch := &c.Changes[i]
		steps += changeSteps
		for j := range len(ch.Target) {
			if ch.Target[j] == '/' {
				steps += 2
			}
		}
		bytes += changeBytes + len(ch.Source) + 3*len(ch.Target) + len(ch.Type) + len(ch.Option)
	}
	return steps, bytes
}

// enter joins namespaces. Its steps come first, because they need descriptors of this process.
func (c *Confinement) enter(m *image) {
	if flags := c.Joined &^ unix.CLONE_NEWPID; flags != 0 {
		m.then(stageNamespace, 0, unix.SYS_SETNS, uintptr(c.Join), flags)
	}
}

// write writes text to a file.
//
//go:noinline
func (m *image) write(stage uint64, path uintptr, text string) {
	open := m.then(stage, 0, unix.SYS_OPENAT, atCwd, path, unix.O_WRONLY|unix.O_CLOEXEC)
	write := m.then(stage, 0, unix.SYS_WRITE, 0, m.text(text), uintptr(len(text)))
	open.saveTo(write)
}

// atCwd is AT_FDCWD.
const atCwd = ^uintptr(99)

// isolate makes the namespaces, and what the child sees in them.
func (c *Confinement) isolate(m *image) {
	if flags := c.Namespaces &^ unix.CLONE_NEWPID; flags != 0 {
		m.then(stageNamespace, 0, unix.SYS_UNSHARE, flags)
	}
	if c.Namespaces&unix.CLONE_NEWNET != 0 {
		socket := m.then(stageNamespace, 0, unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		// struct ifreq: the name, and the flags 16 bytes behind it
		lo := m.numbers('l'|'o'<<8, 0, unix.IFF_UP, 0, 0)
		up := m.then(stageNamespace, 0, unix.SYS_IOCTL, 0, unix.SIOCSIFFLAGS, lo)
		socket.saveTo(up)
	}
	if c.Host != "" {
		m.then(stageNamespace, 0, unix.SYS_SETHOSTNAME, m.text(c.Host), uintptr(len(c.Host)))
	}
	if c.Domain != "" {
		m.then(stageNamespace, 0, unix.SYS_SETDOMAINNAME, m.text(c.Domain), uintptr(len(c.Domain)))
	}
	for i := range c.Sysctls {
		m.write(stageNamespace, m.text(c.Sysctls[i].Path), c.Sysctls[i].Value)
	}
	if c.Namespaces&unix.CLONE_NEWNS != 0 {
		c.mount(m)
	}
	if c.Umask >= 0 {
		m.then(stageMount, 0, unix.SYS_UMASK, uintptr(c.Umask))
	}
}

// mount changes the mounts of the child's own mount namespace.
func (c *Confinement) mount(m *image) {
	root, dot := m.text("/"), m.text(".")
	m.then(stageMount, 0, unix.SYS_MOUNT, root, root, 0, unix.MS_REC|unix.MS_PRIVATE, 0)
	umask := m.then(stageMount, 0, unix.SYS_UMASK, 0)
	opens := make([]*step, len(c.Changes))
	for i := range c.Changes {
		if c.Changes[i].opens() {
			opens[i] = c.Changes[i].open(m, stageMount|uint64(i+1)<<8)
		}
	}
	var cwd *step
	if c.Root != "" {
		dir := m.text(c.Root)
		m.then(stageRoot, 0, unix.SYS_MOUNT, dir, dir, 0, unix.MS_BIND|unix.MS_REC, 0)
		m.then(stageRoot, 0, unix.SYS_CHDIR, dir)
		// The old root lies upon the new one; pivot_root(2).
		m.then(stageRoot, 0, unix.SYS_PIVOT_ROOT, dot, dot)
		m.then(stageRoot, 0, unix.SYS_UMOUNT2, dot, unix.MNT_DETACH)
	} else {
		cwd = m.then(stageMount, 0, unix.SYS_OPENAT, atCwd, dot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	}
	m.then(stageRoot, 0, unix.SYS_CHDIR, root)
	for i := range c.Changes {
		c.Changes[i].apply(m, stageMount|uint64(i+1)<<8, opens[i])
	}
	if c.ReadOnly {
		m.setMount(stageRoot, root, unix.MS_RDONLY, unix.MS_RDONLY, 0, 0)
	}
	// makeTarget changes the directory.
	if cwd != nil {
		cwd.saveTo(m.then(stageRoot, 0, unix.SYS_FCHDIR, 0))
	} else {
		m.then(stageRoot, 0, unix.SYS_CHDIR, root)
	}
	umask.saveTo(m.then(stageMount, 0, unix.SYS_UMASK, 0))
}

// opens reports whether the change needs a file of this process's root.
func (ch *Change) opens() bool {
	return ch.Kind == ChangeMask || ch.Kind == ChangeMount && ch.Flags&unix.MS_BIND != 0
}

// open opens that file as a mount that is at no place yet.
func (ch *Change) open(m *image, stage uint64) *step {
	source, flags := "/dev/null", uintptr(openTreeClone)
	if ch.Kind == ChangeMount {
		source = ch.Source
		if ch.Flags&unix.MS_REC != 0 {
			flags |= unix.AT_RECURSIVE
		}
	}
	return m.then(stage, 0, unix.SYS_OPEN_TREE, atCwd, m.text(source), flags)
}

// apply makes the change. The root is that of the child already.
func (ch *Change) apply(m *image, stage uint64, open *step) {
	target := m.text(ch.Target)
	if ch.MakeDirectory || ch.MakeFile || ch.Kind == ChangeDevice || ch.Kind == ChangeLink {
		ch.makeTarget(m, stage)
	}
	const exists = 1 << unix.EEXIST
	switch ch.Kind {
	case ChangeMount:
		if open == nil {
			m.then(stage, 0, unix.SYS_MOUNT, m.text(ch.Source), target, m.text(ch.Type), ch.Flags, m.text(ch.Option))
			break
		}
		m.attach(stage, 0, target, open)
		if flags := ch.Flags &^ (unix.MS_BIND | unix.MS_REC); flags != 0 {
			m.setMount(stage, target, flags, flags, 0, 0)
		}
	case ChangeDevice:
		m.then(stage, exists, unix.SYS_MKNODAT, atCwd, target, uintptr(ch.Mode), uintptr(ch.Device))
		if ch.UID != 0 || ch.GID != 0 {
			m.then(stage, 0, unix.SYS_FCHOWNAT, atCwd, target, uintptr(ch.UID), uintptr(ch.GID), 0)
		}
	case ChangeLink:
		m.then(stage, exists, unix.SYS_SYMLINKAT, m.text(ch.Source), atCwd, target)
	case ChangeReadOnly:
		m.then(stage, absent, unix.SYS_MOUNT, target, target, 0, unix.MS_BIND|unix.MS_REC, 0)
		flags := uintptr(unix.MS_RDONLY)
		if kernelPath(ch.Target) {
			flags = readOnlyFlags
		}
		m.setMount(stage, target, unix.MS_RDONLY, flags, unix.AT_RECURSIVE, absent)
	case ChangeMask:
		tmpfs := m.text("tmpfs")
		m.then(stage, absent, unix.SYS_MOUNT, tmpfs, target, tmpfs, readOnlyFlags, m.text("mode=0555")).skipNext()
		m.attach(stage, absent, target, open)
	}
}

// attach mounts what open has opened.
//
//go:noinline
func (m *image) attach(stage, pass uint64, target uintptr, open *step) {
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_SYMLINKS
	open.saveTo(m.then(stage, pass, unix.SYS_MOVE_MOUNT, 0, m.text(""), atCwd, target, flags))
}

// setMount adds flags to those of a mount. A kernel before 5.12 replaces them with instead.
//
//go:noinline
func (m *image) setMount(stage uint64, target, flags, instead, how uintptr, pass uint64) {
	attr := uint64(flags & readOnlyFlags) // the same bits
	clear := uint64(0)
	if flags&unix.MS_NOATIME != 0 {
		attr |= unix.MOUNT_ATTR_NOATIME
		clear = unix.MOUNT_ATTR__ATIME
	}
	m.then(stage, pass|1<<unix.ENOSYS, unix.SYS_MOUNT_SETATTR, atCwd, target, how, m.numbers(attr, clear, 0, 0), 32).skipNext()
	m.then(stage, pass, unix.SYS_MOUNT, 0, target, 0, unix.MS_REMOUNT|unix.MS_BIND|instead, 0)
}

// kernelPath reports whether path is below /proc or /sys.
func kernelPath(path string) bool {
	return len(path) > 6 && path[:6] == "/proc/" || len(path) > 5 && path[:5] == "/sys/"
}

// makeTarget creates the directories above the target, and the target if that is asked.
func (ch *Change) makeTarget(m *image, stage uint64) {
	const exists = 1 << unix.EEXIST
	m.then(stage, 0, unix.SYS_CHDIR, m.text("/"))
	for from, i := 0, 0; i <= len(ch.Target); i++ {
		if i < len(ch.Target) && ch.Target[i] != '/' {
			continue
		}
		name := ch.Target[from:i]
		from = i + 1
		if name == "" {
			continue
		}
		switch at := m.text(name); {
		case i < len(ch.Target) || ch.MakeDirectory:
			m.then(stage, exists, unix.SYS_MKDIRAT, atCwd, at, 0o755)
			m.then(stage, 0, unix.SYS_CHDIR, at)
		case ch.MakeFile:
			m.then(stage, exists, unix.SYS_MKNODAT, atCwd, at, unix.S_IFREG|0o644, 0)
		}
	}
}

// restrict restricts the capabilities that the child can have. The user has not changed yet.
func (c *Confinement) restrict(m *image, user *User) {
	for bit := range uintptr(64) {
		if c.Dropped>>bit&1 != 0 {
			const unknown = 1 << unix.EINVAL
			m.then(stageCapabilities, unknown, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, bit, 0, 0, 0)
		}
	}
	if len(c.Filter) > 0 && !c.NoNewPrivileges {
		c.filter(m) // it takes a capability
	}
	if c.Capabilities != nil && user != nil {
		m.then(stageCapabilities, 0, unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	}
}

// setCapabilities sets the capabilities of the child, whose user has changed.
func (c *Confinement) setCapabilities(m *image) {
	k := c.Capabilities
	if k == nil {
		return
	}
	header := m.halves([]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0})
	data := m.halves([]uint32{
		uint32(k.Effective), uint32(k.Permitted), uint32(k.Inheritable),
		uint32(k.Effective >> 32), uint32(k.Permitted >> 32), uint32(k.Inheritable >> 32),
	})
	m.then(stageCapabilities, 0, unix.SYS_CAPSET, header, data)
	for bit := range uintptr(64) {
		if k.Ambient>>bit&1 != 0 {
			m.then(stageCapabilities, 0, unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, bit, 0, 0)
		}
	}
}

// seal is the last of the confinement: the program is executed next.
func (c *Confinement) seal(m *image) {
	if !c.NoNewPrivileges {
		return
	}
	m.then(stageCapabilities, 0, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if len(c.Filter) > 0 {
		c.filter(m)
	}
}

// filter installs the filter.
//
//go:noinline
func (c *Confinement) filter(m *image) {
	program := m.numbers(uint64(len(c.Filter)/8), uint64(m.bytes(c.Filter))) // struct sock_fprog
	m.then(stageSeccomp, 0, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, c.FilterFlags, program)
}
