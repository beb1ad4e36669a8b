//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// The working mount is a small tmpfs on top of /. A process whose root is / does not see it: paths
// begin in the mount below and do not climb to a mount placed over it later. We enter it through
// the descriptor that fsmount(2) returned. So no directory of the image is needed, and none is
// hidden.
//
// The mounts in it are attached, although detached ones would be simpler. Up to Linux 6.14
// overlayfs refuses a layer that is not in the caller's mount namespace (clone_private_mount).

// workMountSize is the limit of the working mount, which holds only directories.
const workMountSize = "64k"

func openWorkMount(m *machine) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fault("fsopen", "tmpfs", "", err, lacks(err, "tmpfs"))
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "tmpfs"}, {"size", workMountSize}, {"mode", "0700"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fault("set", "tmpfs "+o[0]+"="+o[1], "", err, "")
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fault("create", "tmpfs", "", err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return fault("fsmount", "tmpfs", "", err, "")
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		unix.Close(fd)
		return fault("move", "tmpfs", "/", err, "")
	}
	m.workMount = fd
	if err := unix.Fchdir(fd); err != nil {
		return fault("enter", "tmpfs", "", err, "")
	}
	for _, name := range []string{"rom", "rw"} {
		if err := unix.Mkdir(name, 0o700); err != nil {
			return fault("mkdir", name, "", err, "")
		}
	}
	return nil
}

// closeWorkMount detaches the working mount with everything in it. It is idempotent. The working
// directory stays in the detached mount. The overlay lives on, because it has its own clones of its
// layers' mounts.
func (m *machine) closeWorkMount() error {
	if m.workMount < 0 {
		return nil
	}
	err := unix.Fchdir(m.workMount)
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	unix.Close(m.workMount)
	m.workMount, m.nodes = -1, noNodes
	if err != nil {
		return fault("umount", "tmpfs", "", err, "")
	}
	return nil
}

// complaint returns the first message about the last failure in the file system context, or "".
// Overlayfs reports here since Linux 6.5, and tmpfs always has. Other file systems log only to the
// kernel's ring.
func complaint(fs int) string {
	var buf [256]byte
	n, err := unix.Read(fs, buf[:])
	if err != nil || n <= 2 {
		return ""
	}
	// The form is "e overlay: text": severity, space, text.
	for n > 2 && buf[n-1] == '\n' {
		n--
	}
	return string(buf[2:n])
}

// private keeps mounts from propagating to or from other namespaces. A root that is not a mount (a
// chroot) has no propagation of its own. The mounts it is to make have the kernel's default
// already.
func private(*machine) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == unix.EINVAL && !isMount("/") {
		return nil
	}
	if err != nil {
		return fault("make private", "/", "", err, "")
	}
	return nil
}

// isMount reports whether path is the root of a mount (Linux 5.8).
func isMount(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
