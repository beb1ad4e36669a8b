//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// empty deletes everything below the directory fd that is on the device dev. A mount is detached
// and never entered. An entry that cannot be deleted stays and costs only its memory. empty changes
// the working directory.
func empty(fd int, dev uint64) {
	// Read all names first, because deleting from a directory while reading it may skip some.
	for _, name := range list(fd) {
		remove(fd, name, dev)
	}
}

// list returns the names in a directory, up to the first error.
func list(fd int) (names []string) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return names
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func remove(parent int, name string, dev uint64) {
	var st unix.Stat_t
	if unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	if st.Dev != dev {
		// Under the detached mount may be our own entry, or another mount.
		for range 8 {
			if !detach(parent, name) ||
				unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev == dev {
				break
			}
		}
		if st.Dev != dev {
			return
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		// EBUSY means that a single file of the same device is mounted over it.
		if unix.Unlinkat(parent, name, 0) == unix.EBUSY && detach(parent, name) {
			unix.Unlinkat(parent, name, 0)
		}
		return
	}
	fd, err := unix.Openat(parent, name,
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	// Check the opened directory again: a name alone is not proof of its device.
	if unix.Fstat(fd, &st) == nil && st.Dev == dev {
		empty(fd, dev)
	}
	unix.Close(fd)
	if unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) == unix.EBUSY && detach(parent, name) {
		unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	}
}

// detach unmounts the mount at name. It changes the working directory, because umount2(2) takes no
// directory descriptor.
func detach(parent int, name string) bool {
	return unix.Fchdir(parent) == nil &&
		unix.Unmount(name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil
}
