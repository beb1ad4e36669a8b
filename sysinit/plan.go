//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// Plan returns the steps of Up for cfg, in order. Each step prints itself.
func Plan(cfg Config) []Step {
	const (
		required = true
		wanted   = false
	)
	hidden := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	plan := []Step{
		// The host's Ctrl-Alt-Del becomes SIGINT to process 1, which shuts down in order. A reset
		// would lose unwritten data. This is first because Ctrl-Alt-Del may come at any time.
		{"ctrl-alt-del", wanted, []row{call{"ask for a signal instead of a reset", disarm}}},
		// pivot_root(2) and moving a mount refuse a shared parent. The kernel's default is private,
		// but an initramfs may have changed it.
		{"propagation", required, []row{call{"make / private, and all below", private}}},

		// A directory to work in that needs none in the image: see workmount.go.
		{"working mount", required,
			[]row{call{"mount tmpfs on /, unseen from below", openWorkMount}}},
	}
	if !cfg.WritableRoot {
		plan = append(plan, Step{"base", required, baseRows(cfg)})
	}
	switch {
	case cfg.WritableRoot:
		plan = append(plan, Step{"root disk", required, []row{
			call{"mount " + cfg.Base + " on rw (ext4, noatime)", mountRoot},
			call{"pin rw", pinUpper},
		}})
	case cfg.Overlay == Tmpfs:
		plan = append(plan, Step{"overlay memory", required, []row{
			mount{"tmpfs", "rw", unix.MS_NOATIME, "mode=0700,size=" + cfg.TmpfsSize},
			dir{"rw/upper", 0o755}, dir{"rw/work", 0o700},
		}})
	default:
		plan = append(plan, Step{"overlay disk", required, []row{
			call{"mount " + cfg.Overlay + " on rw (ext4, noatime)", mountDisk},
			// The mode of upper is the mode of the guest's /. work belongs to overlayfs.
			dir{"rw/upper", 0o755}, dir{"rw/work", 0o700},
			call{"pin rw", pinUpper},
		}}, Step{"image", wanted, []row{call{"compare it with the disk's mark", compareImage}}})
	}
	root := "root disk"
	if !cfg.WritableRoot {
		root = "overlay"
		text := "mount overlay (" + overlayText(len(devices(cfg.Base))) + ")"
		plan = append(plan, Step{"overlay", required, []row{call{text, mountOverlay}}})
	}
	plan = append(plan,
		Step{"root", required,
			[]row{call{"drop the working mount, make the " + root + " /", switchRoot}}},
		Step{"hidden places", wanted, []row{hold{"/dev"}, hold{"/dev/shm"}, hold{"/run"}}},

		// Without /dev/null and /proc no command runs usefully.
		Step{"/dev", required,
			[]row{call{"mount devtmpfs on /dev (nosuid), or make the nodes", mountDev}}},
		Step{"/proc", required, []row{mount{"proc", "/proc", hidden, ""}}},
		Step{"overcommit", wanted, []row{call{overcommitText(), resetOvercommit}}},
		Step{"/sys", wanted, []row{mount{"sysfs", "/sys", hidden, ""}}},
		// gid 5 is tty everywhere. ptmxmode lets programs open /dev/pts/ptmx. Every mount is an
		// instance of its own since Linux 4.7.
		Step{"/dev/pts", wanted, []row{
			mount{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC,
				"gid=5,mode=0620,ptmxmode=0666"},
		}},
		Step{"/dev/shm", wanted, []row{
			mount{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV,
				"mode=1777,size=" + cfg.ShmSize},
		}},
		Step{"/dev/mqueue", wanted, []row{
			call{"mount mqueue on /dev/mqueue (nosuid,nodev,noexec), if the kernel has it",
				mountQueues},
		}},
		Step{"/dev links", wanted, []row{
			link{"/dev/fd", "/proc/self/fd"}, link{"/dev/stdin", "/proc/self/fd/0"},
			link{"/dev/stdout", "/proc/self/fd/1"}, link{"/dev/stderr", "/proc/self/fd/2"},
		}},
		Step{"/dev nodes", wanted, []row{
			call{"make those in sysfs if there is no devtmpfs", makeNodes},
			carry{path: "/dev/shm"}, carry{path: "/dev", nodes: true},
		}},
		// Debian's /var/lock leads to /run/lock, where every user may create files.
		Step{"/run", wanted, []row{
			mount{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=" + cfg.RunSize},
			dir{"/run/lock", 0o1777}, carry{path: "/run", top: true},
		}},
		// These are on the overlay and not in memory, because temporary files may be large.
		Step{"/tmp", wanted, []row{scratch{"/tmp", "/"}, scratch{"/var/tmp", "/var"}}},
		// Sysfs provides the directory. If it is missing, the kernel lacks control groups.
		// nsdelegate keeps the root of a control group namespace (of a container) from raising its
		// own limits.
		Step{"control groups", wanted,
			[]row{mount{"cgroup2", "/sys/fs/cgroup", hidden, "nsdelegate"}}},
		Step{"console", wanted, []row{
			call{"open /dev/console as 0, 1 and 2 where they are closed or /dev/null", openConsole},
		}},
		Step{"loopback", wanted, []row{
			call{"set lo up", raiseLoopback}, call{"let every group ping", allowPing},
		}},
		Step{"hostname", wanted, []row{call{"set it to " + nameText(cfg), setName}}},
		// See names.go.
		Step{"/etc", wanted, []row{
			dir{"/etc", 0o755},
			call{"fill /etc/hosts", fillHosts}, call{"fill an empty /etc/hostname", fillHostname},
			call{"fill an empty /etc/machine-id", fillMachineID},
			link{"/etc/mtab", "../proc/self/mounts"},
		}},
		Step{"limits", wanted, []row{call{nofileText(), raiseLimits}}},
		// A user cannot plant a hard link to another user's program. Nor can it plant a link, a
		// FIFO or a file in /tmp for another user to follow or open: proc_sys_fs(5). The kernel's
		// defaults allow all of this.
		Step{"planted files", wanted, []row{
			atLeast{"fs/protected_hardlinks", '1'}, atLeast{"fs/protected_symlinks", '1'},
			atLeast{"fs/protected_fifos", '1'}, atLeast{"fs/protected_regular", '1'},
		}},
		// With a lease, a file's owner could delay each program that opens or executes it by 45 s:
		// fcntl(2).
		Step{"leases", wanted, []row{call{"set fs/leases-enable to 0", forbidLeases}}},
	)
	return plan
}

// baseRows returns the row that mounts the layers.
func baseRows(cfg Config) []row {
	text := ""
	for layer, name := range devices(cfg.Base) {
		if layer > 0 {
			text += ", "
		}
		text += name + " on " + layerDir(layer)
	}
	return []row{call{"mount " + text + " (squashfs or erofs, ro)", mountBase}}
}
