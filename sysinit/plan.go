//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// Plan returns the steps of Up for cfg, in order. Each step prints itself.
func Plan(cfg Config) []Step {
	const (
		required = true
		wanted   = false
	)
	plan := append([]Step(nil), firstSteps...)
	if !cfg.WritableRoot {
		plan = add(plan, "base", required, baseRow(cfg))
	}
	switch {
	case cfg.WritableRoot:
		plan = add(plan, "root disk", required,
			call{"mount " + cfg.Base + " on rw (ext4, noatime)", mountRoot}, pinRow)
	case cfg.Overlay == Tmpfs:
		plan = add(plan, "overlay memory", required,
			mount{"tmpfs", "rw", unix.MS_NOATIME, "mode=0700,size=" + cfg.TmpfsSize}, upperRow, workRow)
	default:
		plan = add(plan, "overlay disk", required,
			call{"mount " + cfg.Overlay + " on rw (ext4, noatime)", mountDisk}, upperRow, workRow, pinRow)
		plan = append(plan, imageSteps...)
	}
	root := "root disk"
	if !cfg.WritableRoot {
		root = "overlay"
		text := "mount overlay (" + overlayText(len(devices(cfg.Base))) + ")"
		plan = add(plan, root, required, call{text, mountOverlay})
	}
	plan = add(plan, "root", required, call{"drop the working mount, make the " + root + " /", switchRoot})
	plan = append(plan, kernelSteps...)
	plan = add(plan, "/dev/shm", wanted,
		mount{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=" + cfg.ShmSize})
	plan = append(plan, deviceSteps...)
	// Debian's /var/lock leads to /run/lock, where every user may create files.
	plan = add(plan, "/run", wanted,
		mount{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=" + cfg.RunSize},
		lockRow, carryRow)
	plan = append(plan, hostSteps...)
	plan = add(plan, "hostname", wanted, call{"set it to " + nameText(cfg), setName})
	return append(plan, programSteps...)
}

// add adds a step to a plan.
func add(plan []Step, name string, required bool, rows ...row) []Step {
	return append(plan, Step{name, required, rows})
}

// The rows and steps that no option changes are data that the linker lays out. Made at run time
// they would cost 8 kB of code.
var (
	// The mode of upper is the mode of the guest's /. work belongs to overlayfs.
	upperRow row = dir{"rw/upper", 0o755}
	workRow  row = dir{"rw/work", 0o700}
	pinRow   row = call{"pin rw", pinUpper}
	lockRow  row = dir{"/run/lock", 0o1777}
	carryRow row = carry{path: "/run", top: true}
)

// firstSteps prepare for the mounts.
var firstSteps = []Step{
	// The host's Ctrl-Alt-Del becomes SIGINT to process 1, which shuts down in order. A reset
	// would lose unwritten data. This is first because Ctrl-Alt-Del may come at any time.
	{"ctrl-alt-del", false, []row{call{"ask for a signal instead of a reset", disarm}}},
	// pivot_root(2) and moving a mount refuse a shared parent. The kernel's default is private,
	// but an initramfs may have changed it.
	{"propagation", true, []row{call{"make / private, and all below", private}}},

	// A directory to work in that needs none in the image: see workmount.go.
	{"working mount", true,
		[]row{call{"mount tmpfs on /, unseen from below", openWorkMount}}},
}

// imageSteps compare the overlay disk with the image.
var imageSteps = []Step{
	{"image", false, []row{call{"compare it with the disk's mark", compareImage}}},
}

// hidden has the flags of a mount that shows the kernel's state.
const hidden = uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)

// kernelSteps mount what shows the kernel's state.
var kernelSteps = []Step{
	{"hidden places", false, []row{hold{"/dev"}, hold{"/dev/shm"}, hold{"/run"}}},

	// Without /dev/null and /proc no command runs usefully.
	{"/dev", true,
		[]row{call{"mount devtmpfs on /dev (nosuid), or make the nodes", mountDev}}},
	{"/proc", true, []row{mount{"proc", "/proc", hidden, ""}}},
	{"overcommit", false, []row{call{overcommitText(), resetOvercommit}}},
	{"/sys", false, []row{mount{"sysfs", "/sys", hidden, ""}}},
	// gid 5 is tty everywhere. ptmxmode lets programs open /dev/pts/ptmx. Every mount is an
	// instance of its own since Linux 4.7.
	{"/dev/pts", false, []row{
		mount{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC,
			"gid=5,mode=0620,ptmxmode=0666"},
	}},
}

// deviceSteps complete /dev.
var deviceSteps = []Step{
	{"/dev/mqueue", false, []row{
		call{"mount mqueue on /dev/mqueue (nosuid,nodev,noexec), if the kernel has it",
			mountQueues},
	}},
	{"/dev links", false, []row{
		link{"/dev/fd", "/proc/self/fd"}, link{"/dev/stdin", "/proc/self/fd/0"},
		link{"/dev/stdout", "/proc/self/fd/1"}, link{"/dev/stderr", "/proc/self/fd/2"},
	}},
	{"/dev nodes", false, []row{
		call{"make those in sysfs if there is no devtmpfs", makeNodes},
		carry{path: "/dev/shm"}, carry{path: "/dev", nodes: true},
	}},
}

// hostSteps make the places for temporary files, and set up what the machine has of its own.
var hostSteps = []Step{
	// These are on the overlay and not in memory, because temporary files may be large.
	{"/tmp", false, []row{scratch{"/tmp", "/"}, scratch{"/var/tmp", "/var"}}},
	// Sysfs provides the directory. If it is missing, the kernel lacks control groups.
	// nsdelegate keeps the root of a control group namespace (of a container) from raising its
	// own limits.
	{"control groups", false,
		[]row{mount{"cgroup2", "/sys/fs/cgroup", hidden, "nsdelegate"}}},
	{"console", false, []row{
		call{"open /dev/console as 0, 1 and 2 where they are closed or /dev/null", openConsole},
	}},
	{"hot-added", false, []row{
		call{"let the kernel online memory that is added", onlineMemory},
		call{"online all processors", func(*machine) error { return OnlineProcessors() }},
	}},
	{"loopback", false, []row{
		call{"set lo up", raiseLoopback}, call{"let every group ping", allowPing},
		call{"let every user listen on all ports", openPorts},
	}},
}

// programSteps set what programs expect and may not do.
var programSteps = []Step{
	// See names.go.
	{"/etc", false, []row{
		dir{"/etc", 0o755},
		call{"fill /etc/hosts", fillHosts}, call{"fill an empty /etc/hostname", fillHostname},
		call{"fill an empty /etc/machine-id", fillMachineID},
		link{"/etc/mtab", "../proc/self/mounts"},
	}},
	{"limits", false, []row{call{nofileText(), raiseLimits}}},
	// A user cannot plant a hard link to another user's program. Nor can it plant a link, a
	// FIFO or a file in /tmp for another user to follow or open: proc_sys_fs(5). The kernel's
	// defaults allow all of this.
	{"planted files", false, []row{
		atLeast{"fs/protected_hardlinks", '1'}, atLeast{"fs/protected_symlinks", '1'},
		atLeast{"fs/protected_fifos", '1'}, atLeast{"fs/protected_regular", '1'},
	}},
	// With a lease, a file's owner could delay each program that opens or executes it by 45 s:
	// fcntl(2).
	{"leases", false, []row{call{"set fs/leases-enable to 0", forbidLeases}}},
}

// baseRow returns the row that mounts the layers.
func baseRow(cfg Config) row {
	text := ""
	for layer, name := range devices(cfg.Base) {
		if layer > 0 {
			text += ", "
		}
		text += name + " on " + layerDir(layer)
	}
	return call{"mount " + text + " (squashfs or erofs, ro)", mountBase}
}
