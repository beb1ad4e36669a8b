//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// switchRoot makes the overlay the root. See the package's text for the two ways and why there are two.
func switchRoot(m *machine) error {
	// The layers' mounts go first, so that on either way nothing of them stays in the namespace.
	if err := m.clearBench(); err != nil {
		return err
	}
	if err := unix.MoveMount(m.overlay, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fault("move", "overlay", "/", err, "")
	}
	err := unix.Fchdir(m.overlay)
	unix.Close(m.overlay)
	m.overlay = -1
	if err != nil {
		return fault("enter", "overlay", "", err, "")
	}

	// With both arguments the same the old root ends up on top of the new one, at "/", and the umount takes it off again: no
	// directory is needed for it (pivot_root(2), notes).
	err = unix.PivotRoot(".", ".")
	switch err {
	case nil:
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fault("umount", "the old root", "", err, "")
		}
	case unix.EINVAL:
		// The old root is the kernel's first one, an initramfs, and stays for ever under the new one.
		if err := abandon(); err != nil {
			return err
		}
		if err := unix.Chroot("."); err != nil {
			return fault("chroot to", "overlay", "", err, "")
		}
	default:
		return fault("pivot_root to", "overlay", "", err, "")
	}
	if err := unix.Chdir("/"); err != nil {
		return fault("enter", "/", "", err, "")
	}
	return nil
}

// abandon gives back the memory of an initramfs: it deletes everything in it. A root of any other kind, one with a disk behind
// it, is left alone. It keeps the working directory.
func abandon() error {
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		return fault("statfs", "/", "", err, "")
	}
	if kind := int64(st.Type); kind != unix.RAMFS_MAGIC && kind != unix.TMPFS_MAGIC {
		return nil
	}
	home, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", ".", "", err, "")
	}
	defer unix.Close(home)
	old, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", "/", "", err, "")
	}
	defer unix.Close(old)
	var root unix.Stat_t
	if err := unix.Fstat(old, &root); err != nil {
		return fault("stat", "/", "", err, "")
	}
	empty(old, root.Dev)
	if err := unix.Fchdir(home); err != nil {
		return fault("enter", "overlay", "", err, "")
	}
	return nil
}
