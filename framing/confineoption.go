package framing

// capabilityNames has the capabilities of capabilities(7) in the order of their numbers, without
// CAP_ and in lower case.
const capabilityNames = "chown dac_override dac_read_search fowner fsetid kill setgid setuid " +
	"setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner " +
	"sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice " +
	"sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap " +
	"mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf " +
	"checkpoint_restore "

// AllCapabilities has every capability, those that have no name yet included.
const AllCapabilities uint64 = 1<<64 - 1

// FindCapabilities returns the capabilities that a list names, with commas between them: such as
// NET_ADMIN, cap_chown or ALL. It reports whether all are known.
func FindCapabilities(list string) (set uint64, ok bool) {
	for from, i := 0, 0; i <= len(list); i++ {
		if i < len(list) && list[i] != ',' {
			continue
		}
		bits := findCapability(list[from:i])
		if bits == 0 {
			return 0, false
		}
		set |= bits
		from = i + 1
	}
	return set, true
}

// findCapability returns the capability of that name, or 0.
func findCapability(name string) uint64 {
	if sameLetters(name, "all") {
		return AllCapabilities
	}
	if len(name) > 4 && sameLetters(name[:4], "cap_") {
		name = name[4:]
	}
	bit := uint64(1)
	for from, i := 0, 0; i < len(capabilityNames); i++ {
		if capabilityNames[i] == ' ' {
			if sameLetters(name, capabilityNames[from:i]) {
				return bit
			}
			bit <<= 1
			from = i + 1
		}
	}
	return 0
}

// sameLetters reports whether name is lower, which is in lower case, in any case.
func sameLetters(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// ConfineOptions are options of a command line that confine a process. The zero ConfineOptions does
// not. CapDrop leave the bounding set, except CapAdd. CapAdd are ambient, so that a user other than
// root has them too.
type ConfineOptions struct {
	CapDrop, CapAdd uint64
	NoNewPrivs      bool
	ReadOnly        bool       // the file system of the root
	Own             Namespaces // with NamespacePID, /proc is mounted anew
	// Root is the root directory. It gets a /proc and a small /dev. Empty means the machine's.
	Root                  string
	Masked, ReadOnlyPaths []string
	Tmpfs                 []string
	Filter                []byte // of seccomp
	Terminal              bool   // is at /dev/console of a root
	Join                  uint64 // the id of a process whose namespaces it joins, or 0
}

// rootDevices has the devices of the /dev of a root: their names, and minor numbers with major 1.
var rootDevices = [...]struct {
	name  string
	minor uint32
}{{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}}

// Confinement returns the confinement that the options describe. It has no entry for none.
func (o *ConfineOptions) Confinement() (c Confinement) {
	if o.Join != 0 {
		c.Join(o.Join, 0)
	}
	if o.Own != 0 {
		own := o.Own
		if own&NamespacePID != 0 {
			own |= NamespaceMount
		}
		c.Namespaces(own)
	}
	if o.Root != "" || o.ReadOnly {
		flags := uint8(0)
		if o.ReadOnly {
			flags = RootReadOnly
		}
		c.Root(flags, o.Root)
	}
	if o.Root != "" || o.Own&NamespacePID != 0 {
		c.Mount(Mount{
			MountDirectory, MountNoSUID | MountNoDev | MountNoExec, "proc", "/proc", "proc", "",
		})
	}
	if o.Root != "" {
		o.addDevices(&c)
	}
	for _, path := range o.Tmpfs {
		c.Mount(Mount{MountDirectory, MountNoSUID | MountNoDev, "tmpfs", path, "tmpfs", "mode=1777"})
	}
	for _, path := range o.ReadOnlyPaths {
		c.ReadOnly(path)
	}
	for _, path := range o.Masked {
		c.Mask(path)
	}
	if o.CapDrop != 0 {
		c.Bounding(^o.CapDrop | o.CapAdd)
	}
	if o.CapAdd != 0 && o.CapAdd != AllCapabilities {
		c.Capabilities(o.CapAdd, o.CapAdd, o.CapAdd, o.CapAdd)
	}
	if o.NoNewPrivs {
		c.NoNewPrivs()
	}
	if len(o.Filter) > 0 {
		c.Seccomp(0, o.Filter)
	}
	return c
}

// addDevices mounts a /dev with the devices that every program expects, and no disk.
func (o *ConfineOptions) addDevices(c *Confinement) {
	const device, everyone = 0o020000, 0o666
	c.Mount(Mount{MountDirectory, MountNoSUID, "tmpfs", "/dev", "tmpfs", "mode=755,size=64k"})
	c.Mount(Mount{
		MountDirectory, MountNoSUID | MountNoExec, "devpts", "/dev/pts", "devpts",
		"newinstance,ptmxmode=0666,mode=620",
	})
	c.Mount(Mount{MountDirectory, MountNoSUID | MountNoDev, "tmpfs", "/dev/shm", "tmpfs", "mode=1777"})
	for _, d := range rootDevices {
		c.Device("/dev/"+d.name, device|everyone, 0, 0, 1, d.minor)
	}
	c.Device("/dev/tty", device|everyone, 0, 0, 5, 0)
	c.Link("pts/ptmx", "/dev/ptmx")
	c.Link("/proc/self/fd", "/dev/fd")
	c.Link("/proc/self/fd/0", "/dev/stdin")
	c.Link("/proc/self/fd/1", "/dev/stdout")
	c.Link("/proc/self/fd/2", "/dev/stderr")
	if o.Terminal {
		c.Console("/dev/console")
	}
}

// The reasons of Set.
const (
	badCapability = "unknown capability"
	badPath       = "path is not absolute"
	badPrivate    = "not private or no"
	badSwitch     = "not yes or no"
)

// Set sets the option of that name, without dashes in front. It returns why it cannot, or "".
func (o *ConfineOptions) Set(name, value string) (reason string) {
	var list *[]string
	switch name {
	case "cap-drop", "cap-add":
		set, ok := FindCapabilities(value)
		if !ok {
			return badCapability
		}
		if name == "cap-add" {
			o.CapAdd |= set
		} else {
			o.CapDrop |= set
		}
		return ""
	case "no-new-privs":
		return setSwitch(&o.NoNewPrivs, value)
	case "read-only":
		return setSwitch(&o.ReadOnly, value)
	case "pid":
		return o.own(NamespacePID, value)
	case "network":
		return o.own(NamespaceNetwork, value)
	case "ipc":
		return o.own(NamespaceIPC, value)
	case "uts":
		return o.own(NamespaceUTS, value)
	case "mask":
		list = &o.Masked
	case "read-only-path":
		list = &o.ReadOnlyPaths
	case "mount-tmpfs":
		list = &o.Tmpfs
	}
	if value == "" || value[0] != '/' {
		return badPath
	}
	if list == nil { // root-dir
		o.Root = value
	} else {
		*list = append(*list, value)
	}
	return ""
}

func (o *ConfineOptions) own(kind Namespaces, value string) string {
	switch value {
	case "private":
		o.Own |= kind
	case "no":
		o.Own &^= kind
	default:
		return badPrivate
	}
	return ""
}

func setSwitch(to *bool, value string) string {
	if value != "yes" && value != "no" {
		return badSwitch
	}
	*to = value == "yes"
	return ""
}
