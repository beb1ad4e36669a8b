package framing

import "bytes"

// ConfineKind says what an entry of a Confinement does.
type ConfineKind uint8

// The kinds of entries.
const (
	_                   ConfineKind = iota
	ConfineNamespaces               // the namespaces of its own
	ConfineJoin                     // those of another process
	ConfineNames                    // host and domain name
	ConfineSysctl                   // a file of /proc/sys
	ConfineRoot                     // the root directory
	ConfineMount                    // a mount
	ConfineDevice                   // a device
	ConfineLink                     // a symbolic link
	ConfineConsole                  // the terminal at a path
	ConfineReadOnly                 // a read-only path
	ConfineMask                     // a hidden path
	ConfineBounding                 // the capability bounding set
	ConfineCapabilities             // the other sets
	ConfineNoNewPrivs
	ConfineSeccomp
	ConfineUmask
	ConfineOOMScore
	ConfineGroups // supplementary groups
	ConfineLimit  // a limit of the cgroup
	confineKinds
)

// Namespaces are kinds of namespaces, as bits.
type Namespaces uint8

// The kinds of namespaces.
const (
	NamespaceMount Namespaces = 1 << iota
	NamespacePID
	NamespaceNetwork
	NamespaceIPC
	NamespaceUTS
	NamespaceCgroup
	namespacesKnown = 1<<iota - 1
)

// The flags of a root and of a mount.
const (
	RootReadOnly   = 1 << 0 // the root's own file system is read-only
	MountDirectory = 1 << 0 // the target is created as a directory
	MountFile      = 1 << 1 // the target is created as a file
)

// The MS_ flags of a mount, as mount(2) has them.
const (
	MountReadOnly = 1
	MountNoSUID   = 2
	MountNoDev    = 4
	MountNoExec   = 8
	MountNoAtime  = 1 << 10
	MountBind     = 1 << 12
	MountRec      = 1 << 14
	bindKnown     = MountReadOnly | MountNoSUID | MountNoDev | MountNoExec | MountNoAtime |
		MountBind | MountRec
	// Besides them: synchronous, dirsync, nosymfollow, nodiratime, silent, relatime, strictatime.
	mountKnown = bindKnown | 1<<4 | 1<<7 | 1<<8 | 1<<11 | 1<<15 | 1<<21 | 1<<24
)

const (
	// MaxConfine is the most entries of a Confinement.
	MaxConfine = 1024
	// MaxFilter is the most instructions of a seccomp filter, each of FilterSize bytes.
	MaxFilter  = 4096
	FilterSize = 8
	// SeccompLog and SeccompSpecAllow are the flags of a filter; seccomp(2).
	SeccompLog       = 2
	SeccompSpecAllow = 4

	maxGroups = 1024
	maxHost   = 64 // bytes of a name of a UTS namespace
)

// confineLayouts has the fields of each kind: the bytes of a number, t for a text, p for an
// absolute path, * for the rest.
var confineLayouts = [confineKinds]string{
	ConfineNamespaces:   "1",
	ConfineJoin:         "81",
	ConfineNames:        "tt",
	ConfineSysctl:       "tt",
	ConfineRoot:         "1t",
	ConfineMount:        "14tptt",
	ConfineDevice:       "44444p",
	ConfineLink:         "tp",
	ConfineConsole:      "p",
	ConfineReadOnly:     "p",
	ConfineMask:         "p",
	ConfineBounding:     "8",
	ConfineCapabilities: "8888",
	ConfineNoNewPrivs:   "",
	ConfineSeccomp:      "4*",
	ConfineUmask:        "2",
	ConfineOOMScore:     "4",
	ConfineGroups:       "*",
	ConfineLimit:        "tt",
}

// ConfineEntry is an entry of a Confinement. The methods of Confinement say which numbers and texts
// each kind has.
type ConfineEntry struct {
	Kind    ConfineKind
	Numbers [5]uint64
	Texts   [4][]byte
}

// Confinement restricts what a process sees and may do, encoded. The zero Confinement does not. A
// copy shares the entries present when it was made.
type Confinement struct{ raw []byte }

// Any reports whether there is an entry.
func (c Confinement) Any() bool { return len(c.raw) > 0 }

// All yields the entries in order. The texts alias the payload or what was added.
func (c Confinement) All(yield func(*ConfineEntry) bool) {
	var e ConfineEntry
	for f := (fields{b: c.raw}); len(f.b) > 0; {
		f.confineEntry(&e)
		if !yield(&e) {
			return
		}
	}
}

// confineEntry takes an entry.
func (f *fields) confineEntry(e *ConfineEntry) {
	*e = ConfineEntry{Kind: ConfineKind(f.u8())}
	in := fields{b: f.text32()}
	if f.reason == "" && (e.Kind == 0 || e.Kind >= confineKinds) {
		f.fail(reasonKind)
	}
	if f.reason != "" {
		return
	}
	numbers, texts := 0, 0
	layout := confineLayouts[e.Kind]
	for i := range len(layout) {
		switch at := layout[i]; at {
		case 't', 'p':
			text := in.word16()
			if at == 'p' && in.reason == "" && (len(text) == 0 || text[0] != '/') {
				in.fail(reasonRelative)
			}
			e.Texts[texts] = text
			texts++
		case '*':
			e.Texts[texts] = in.rest()
		default:
			e.Numbers[numbers] = in.number(int(at - '0'))
			numbers++
		}
	}
	if in.reason == "" {
		e.check(&in)
	}
	if in.reason == "" && len(in.b) > 0 {
		in.reason = reasonLong
	}
	if in.reason != "" {
		f.fail(in.reason)
	}
}

// check fails f if an entry's values cannot be meant.
func (e *ConfineEntry) check(f *fields) {
	n := e.Numbers[0]
	known := ^uint64(0)
	switch e.Kind {
	case ConfineNamespaces:
		known = namespacesKnown
	case ConfineJoin:
		if n == 0 {
			f.fail(reasonID)
		}
		if e.Numbers[1]&^namespacesKnown != 0 {
			f.fail(reasonFlag)
		}
	case ConfineNames:
		if len(e.Texts[0]) > maxHost || len(e.Texts[1]) > maxHost {
			f.fail(reasonHost)
		}
	case ConfineSysctl:
		if !below(e.Texts[0]) {
			f.fail(reasonRelative)
		}
	case ConfineLimit:
		if !below(e.Texts[0]) || bytes.IndexByte(e.Texts[0], '/') >= 0 {
			f.fail(reasonRelative)
		}
	case ConfineRoot:
		known = RootReadOnly
		if len(e.Texts[0]) > 0 && e.Texts[0][0] != '/' {
			f.fail(reasonRelative)
		}
	case ConfineMount:
		known = MountDirectory | MountFile
		flags := e.Numbers[1]
		switch bind := flags&MountBind != 0; {
		case bind && flags&^bindKnown != 0, flags&^mountKnown != 0, !bind && flags&MountRec != 0:
			f.fail(reasonFlag)
		case bind && (len(e.Texts[0]) == 0 || e.Texts[0][0] != '/'):
			f.fail(reasonRelative)
		}
	case ConfineSeccomp:
		known = SeccompLog | SeccompSpecAllow
		if size := len(e.Texts[0]); size == 0 || size%FilterSize != 0 || size > MaxFilter*FilterSize {
			f.fail(reasonFilter)
		}
	case ConfineUmask:
		known = 0o777
	case ConfineGroups:
		if size := len(e.Texts[0]); size%4 != 0 || size > 4*maxGroups {
			f.fail(reasonCount)
		}
	}
	if n&^known != 0 {
		f.fail(reasonFlag)
	}
}

// below reports whether path stays below the directory in which it is looked up.
func below(path []byte) bool {
	for i := range path {
		if path[i] == '.' && (i == 0 || path[i-1] == '/') {
			return false
		}
	}
	return len(path) > 0 && path[0] != '/'
}

// several are the kinds that may have several entries, and mounting those that need a mount
// namespace of their own. Both are bits.
const (
	several  = mounting&^(1<<ConfineRoot|1<<ConfineConsole) | 1<<ConfineSysctl | 1<<ConfineLimit
	mounting = 1<<ConfineRoot | 1<<ConfineMount | 1<<ConfineDevice | 1<<ConfineLink |
		1<<ConfineConsole | 1<<ConfineReadOnly | 1<<ConfineMask
)

// confinement takes a count of bytes and entries.
func (f *fields) confinement() (c Confinement) {
	in := fields{b: f.text32()}
	if c.raw = in.b; f.reason == "" && !c.Any() {
		f.fail(reasonConfine)
	}
	seen, own, joined := uint64(0), Namespaces(0), Namespaces(0)
	var e ConfineEntry
	for n := 0; len(in.b) > 0; n++ {
		if in.confineEntry(&e); in.reason != "" {
			break
		}
		switch e.Kind {
		case ConfineNamespaces:
			own = Namespaces(e.Numbers[0])
		case ConfineJoin:
			if joined = Namespaces(e.Numbers[1]); joined == 0 {
				joined = namespacesKnown
			}
		}
		bit := uint64(1) << e.Kind
		if seen&bit&^several != 0 || n == MaxConfine {
			in.fail(reasonTwice)
		}
		seen |= bit
	}
	const kernel = NamespaceUTS | NamespaceIPC | NamespaceNetwork
	switch {
	case in.reason != "":
	case own&joined != 0, seen&mounting != 0 && joined&NamespaceMount != 0,
		seen&(1<<ConfineNames) != 0 && own&NamespaceUTS == 0,
		seen&(1<<ConfineSysctl) != 0 && own&kernel == 0:
		in.reason = reasonNamespace
	}
	if in.reason != "" {
		f.fail(in.reason)
	}
	return c
}

// add appends an entry. Its texts are cut to maxCount bytes, except the rest of an entry.
func (c *Confinement) add(e *ConfineEntry) {
	start := len(c.raw)
	c.raw = append(c.raw, byte(e.Kind), 0, 0, 0, 0)
	numbers, texts := 0, 0
	layout := confineLayouts[e.Kind]
	for i := range len(layout) {
		switch at := layout[i]; at {
		case 't', 'p':
			c.raw = appendText16(c.raw, e.Texts[texts])
			texts++
		case '*':
			c.raw = append(c.raw, e.Texts[texts]...)
		default:
			for shift := 8 * int(at-'0'); shift > 0; {
				shift -= 8
				c.raw = append(c.raw, byte(e.Numbers[numbers]>>shift))
			}
			numbers++
		}
	}
	appendU32(c.raw[:start+1], uint32(len(c.raw)-start-5))
}

// put appends an entry. It and others are not inlined, which saves 3 kB.
//
//go:noinline
func (c *Confinement) put(kind ConfineKind, numbers [5]uint64, list ...string) {
	e := ConfineEntry{Kind: kind, Numbers: numbers}
	for i, text := range list {
		e.Texts[i] = []byte(text)
	}
	c.add(&e)
}

// Namespaces gives the process namespaces of its own. Several calls are not allowed, here as
// elsewhere, unless a method says so.
func (c *Confinement) Namespaces(own Namespaces) {
	c.put(ConfineNamespaces, [5]uint64{uint64(own)})
}

// Join starts the process in the namespaces of the process with that id, of the given kinds; 0 for
// all. Its root belongs to its mount namespace.
func (c *Confinement) Join(id uint64, kinds Namespaces) {
	c.put(ConfineJoin, [5]uint64{id, uint64(kinds)})
}

// Names sets the names of the process's UTS namespace. An empty one is left.
func (c *Confinement) Names(host, domain string) {
	c.put(ConfineNames, [5]uint64{}, host, domain)
}

// Sysctl writes a value to a file below /proc/sys, such as net/ipv4/ip_forward. It may be called
// several times.
func (c *Confinement) Sysctl(file, value string) {
	c.put(ConfineSysctl, [5]uint64{}, file, value)
}

// Root makes a directory the process's root. Empty means the root of the machine. With RootReadOnly
// its file system is read-only, but not other mounts below it.
func (c *Confinement) Root(flags uint8, dir string) {
	c.put(ConfineRoot, [5]uint64{uint64(flags)}, dir)
}

// Mount is a mount in the process's mount namespace; mount(2).
type Mount struct {
	// Create has MountDirectory or MountFile, or is 0.
	Create uint8
	// Flags are MS_ flags, such as MountBind. The source of a bind mount is a path of the machine.
	Flags uint32
	// Target is a path below the process's root.
	Source, Target, Type, Options string
}

// Mount adds a mount. It may be called several times. Mounts, devices, links, read-only and masked
// paths are made in the order of the calls.
//
//go:noinline
func (c *Confinement) Mount(m Mount) {
	c.put(ConfineMount, [5]uint64{uint64(m.Create), uint64(m.Flags)}, m.Source, m.Target, m.Type, m.Options)
}

// Device makes a device, unless its path exists. Mode has the type, as mknod(2) has it. It may be
// called several times.
//
//go:noinline
func (c *Confinement) Device(path string, mode, uid, gid, major, minor uint32) {
	c.put(ConfineDevice, [5]uint64{uint64(mode), uint64(uid), uint64(gid), uint64(major), uint64(minor)}, path)
}

// Link makes a symbolic link, unless its path exists. It may be called several times.
//
//go:noinline
func (c *Confinement) Link(target, path string) {
	c.put(ConfineLink, [5]uint64{}, target, path)
}

// Console puts the process's terminal at a path, such as /dev/console.
func (c *Confinement) Console(path string) {
	c.put(ConfineConsole, [5]uint64{}, path)
}

// ReadOnly makes a path and the mounts below it read-only, if it exists. It may be called several
// times.
func (c *Confinement) ReadOnly(path string) {
	c.put(ConfineReadOnly, [5]uint64{}, path)
}

// Mask hides the content of a path, if it exists. It may be called several times.
func (c *Confinement) Mask(path string) {
	c.put(ConfineMask, [5]uint64{}, path)
}

// Bounding has the capability bounding set lose all but the given capabilities, as bits.
func (c *Confinement) Bounding(keep uint64) {
	c.put(ConfineBounding, [5]uint64{keep})
}

// Capabilities sets the other sets of capabilities, as bits.
func (c *Confinement) Capabilities(effective, permitted, inheritable, ambient uint64) {
	numbers := [5]uint64{effective, permitted, inheritable, ambient}
	c.put(ConfineCapabilities, numbers)
}

// NoNewPrivs has no program gain privileges at its execution.
func (c *Confinement) NoNewPrivs() { c.put(ConfineNoNewPrivs, [5]uint64{}) }

// Seccomp installs a filter: struct sock_filter of seccomp(2), FilterSize bytes each, in the
// guest's byte order, which is little-endian.
func (c *Confinement) Seccomp(flags uint32, filter []byte) {
	e := ConfineEntry{Kind: ConfineSeccomp, Numbers: [5]uint64{uint64(flags)}}
	e.Texts[0] = filter
	c.add(&e)
}

// Umask sets the umask.
func (c *Confinement) Umask(mask uint16) {
	c.put(ConfineUmask, [5]uint64{uint64(mask)})
}

// OOMScore sets oom_score_adj, from -1000 to 1000.
func (c *Confinement) OOMScore(score int32) {
	c.put(ConfineOOMScore, [5]uint64{uint64(uint32(score))})
}

// Groups sets the supplementary groups. A start without a user ignores them.
func (c *Confinement) Groups(gids []uint32) {
	e := ConfineEntry{Kind: ConfineGroups}
	for _, gid := range gids {
		e.Texts[0] = appendU32(e.Texts[0], gid)
	}
	c.add(&e)
}

// Limit writes value to a file of the process's cgroup, such as memory.max.
func (c *Confinement) Limit(file, value string) {
	c.put(ConfineLimit, [5]uint64{}, file, value)
}
