package sys

import "golang.org/x/sys/unix"

// initialPIDNamespace is the inode of the pid namespace that the kernel starts with;
// PID_NS_INIT_INO of <linux/nsfs.h>.
const initialPIDNamespace = 0xEFFFFFFC

// IsMachineInit reports whether this is process 1 of the machine, not of a container.
func IsMachineInit() bool {
	var st unix.Stat_t
	return unix.Getpid() == 1 && unix.Stat("/proc/self/ns/pid", &st) == nil && st.Ino == initialPIDNamespace
}
