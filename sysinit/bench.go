//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// The working mount is a small tmpfs on top of /. Whoever has / as its root sees nothing of it: a process's root is a place
// in the mount below, and paths begin there without climbing to what was mounted over it since. We get in through the
// descriptor that fsmount(2) returned. So no directory of the image is needed, and none is hidden.
//
// The mounts in it are attached, though detached ones would be prettier: up to Linux 6.14 overlayfs takes no layer
// that is not in the caller's mount namespace (clone_private_mount).

// benchSize is the limit of the working mount: it holds directories alone.
const benchSize = "64k"

func openBench(m *machine) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fault("fsopen", "tmpfs", "", err, lacks(err, "tmpfs"))
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "tmpfs"}, {"size", benchSize}, {"mode", "0700"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fault("set", "tmpfs "+o[0]+"="+o[1], "", err, "")
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fault("create", "tmpfs", "", err, complaint(fs))
	}
	bench, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return fault("fsmount", "tmpfs", "", err, "")
	}
	if err := unix.MoveMount(bench, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		unix.Close(bench)
		return fault("move", "tmpfs", "/", err, "")
	}
	m.bench = bench
	if err := unix.Fchdir(bench); err != nil {
		return fault("enter", "tmpfs", "", err, "")
	}
	for _, name := range []string{"rom", "rw"} {
		if err := unix.Mkdir(name, 0o700); err != nil {
			return fault("mkdir", name, "", err, "")
		}
	}
	return nil
}

// clearBench takes the working mount away with everything in it, and leaves the working directory in it. The overlay lives on: it has
// clones of its layers' mounts of its own.
func (m *machine) clearBench() error {
	if m.bench < 0 {
		return nil
	}
	err := unix.Fchdir(m.bench)
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	unix.Close(m.bench)
	m.bench, m.nodes = -1, noNodes
	if err != nil {
		return fault("umount", "tmpfs", "", err, "")
	}
	return nil
}

// complaint is what the file system context has to say about the last failure, first message only, or "".
// Overlayfs speaks here since 6.5, tmpfs always; others log to the kernel's ring alone.
func complaint(fs int) string {
	var buf [256]byte
	n, err := unix.Read(fs, buf[:])
	if err != nil || n <= 2 {
		return ""
	}
	// "e overlay: text": severity, space, text.
	for n > 2 && buf[n-1] == '\n' {
		n--
	}
	return string(buf[2:n])
}

// private keeps mounts from propagating to or from other namespaces. A root that is no mount (a chroot) has no
// propagation of its own; what it means to make has already the kernel's default.
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

// isMount says whether path is the root of a mount (Linux 5.8).
func isMount(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
