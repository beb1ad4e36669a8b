//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// mountDev mounts /dev afresh and does not move the old one over. All mounts of devtmpfs are one
// file system, so nothing in it is lost. An old /dev that is only a directory of the initramfs then
// needs no case of its own.
func mountDev(m *machine) error {
	unix.Mkdir("/dev", 0o755)
	m.root.nodes = kernelNodes
	err := unix.Mount(m.kinds.dev, "/dev", m.kinds.dev, unix.MS_NOSUID, "")
	if err != unix.ENODEV {
		if err != nil {
			return fault("mount", m.kinds.dev, "/dev", err, "")
		}
		return nil
	}
	// Without devtmpfs we make the nodes that every program needs, and those of our drives. Sysfs
	// tells the rest once it is mounted.
	m.bareDev, m.root.nodes = true, sysfsNodes
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID,
		"mode=0755,size=1m"); err != nil {
		return fault("mount", "tmpfs", "/dev", err, lacks(err, "devtmpfs and tmpfs"))
	}
	for _, n := range devNodes {
		if err := unix.Mknod(n.path, unix.S_IFCHR|n.mode,
			int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fault("mknod", n.path, "", err, "")
		}
	}
	for _, d := range m.drives {
		// A node that exists already, or whose directory is missing, is no reason to fail.
		unix.Mknod(d.path, unix.S_IFBLK|0o660, int(d.number))
	}
	return nil
}

// mountQueues mounts POSIX message queues as files. A kernel without them is no error.
func mountQueues(m *machine) error {
	err := mount{"mqueue", "/dev/mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC,
		""}.run(m)
	if e, ok := err.(*StepError); ok && e.Errno == unix.ENODEV {
		unix.Rmdir("/dev/mqueue")
		return nil
	}
	return err
}

// devNodes lists the nodes of Documentation/admin-guide/devices.txt that programs take for granted.
var devNodes = []struct {
	path         string
	mode         uint32
	major, minor uint32
}{
	{"/dev/null", 0o666, 1, 3},
	{"/dev/zero", 0o666, 1, 5},
	{"/dev/full", 0o666, 1, 7},
	{"/dev/random", 0o666, 1, 8},
	{"/dev/urandom", 0o666, 1, 9},
	{"/dev/kmsg", 0o644, 1, 11},
	{"/dev/tty", 0o666, 5, 0},
	{"/dev/console", 0o600, 5, 1},
	{"/dev/ptmx", 0o666, 5, 2},
}

// openConsole opens the console as 0, 1 and 2 if the kernel could not. The kernel opens
// /dev/console before process 1 runs. It fails if the image has no such node or the kernel no
// console driver. Go's runtime then opens /dev/null there, and dies if that is missing too. On a
// machine without a console the descriptors stay as they are, without an error.
func openConsole(*machine) error {
	console := -1
	defer func() {
		if console > 2 {
			unix.Close(console)
		}
	}()
	for fd := range 3 {
		if !nowhere(fd) {
			continue
		}
		if console < 0 {
			var err error
			console, err = unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			if err == unix.ENODEV {
				return nil
			}
			if err != nil {
				return fault("open", "/dev/console", "", err, "")
			}
		}
		if console == fd {
			// The descriptor was closed and open(2) took its number. Children inherit it.
			unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		} else if err := unix.Dup3(console, fd, 0); err != nil {
			return fault("dup", "/dev/console", "", err, "")
		}
	}
	return nil
}

// nowhere reports whether a descriptor is closed or is /dev/null.
func nowhere(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return true
	}
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}
