//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// switchRoot makes the overlay the root. The package text explains the two ways.
func switchRoot(m *machine) error {
	// The layers' mounts go first, so that none of them stays in the namespace on either way.
	if err := m.closeWorkMount(); err != nil {
		return err
	}
	if err := unix.MoveMount(m.overlay, "", unix.AT_FDCWD, "/",
		unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fault("move", "overlay", "/", err, "")
	}
	err := unix.Fchdir(m.overlay)
	unix.Close(m.overlay)
	m.overlay = -1
	if err != nil {
		return fault("enter", "overlay", "", err, "")
	}

	// With both arguments the same, the old root ends up on top of the new one at "/", and the
	// unmount removes it. So it needs no directory (pivot_root(2), notes).
	err = unix.PivotRoot(".", ".")
	switch err {
	case nil:
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fault("umount", "the old root", "", err, "")
		}
	case unix.EINVAL:
		// The old root is the kernel's first one, an initramfs, and always stays under the new one.
		if err := abandon(); err != nil {
			return err
		}
		if err := unix.Chroot("."); err != nil {
			return fault("chroot to", "overlay", "", err, "")
		}
	default:
		return fault("pivot_root to", "overlay", "", err, "")
	}
	m.root.isUp = true
	if err := unix.Chdir("/"); err != nil {
		return fault("enter", "/", "", err, "")
	}
	return nil
}

// abandon frees the memory of an initramfs by deleting everything in it. It leaves a root of any
// other kind alone, such as one with a disk behind it. It preserves the working directory.
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
