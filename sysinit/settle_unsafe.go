//go:build linux

package sysinit

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The child of a bare fork has none of the runtime's other threads and must not need them. It may
// not allocate, grow its stack or enter the scheduler. So all functions here are nosplit and make
// only raw system calls, and their strings lie in the data segment. forkAndExecInChild of package
// syscall keeps the same rules.

var (
	nothing  = [1]byte{0}
	readOnly = [3]byte{'r', 'o', 0}
)

// fiFreeze is FIFREEZE of linux/fs.h: _IOWR('X', 119, int) on every architecture except mips,
// powerpc and sparc.
const fiFreeze = 0xc0045877

// fork returns the child's process id. It does not return in the child.
//
//go:nosplit
//go:norace
//go:noinline
func fork(pipe, upper, disk int, mounts []leaving, from, to int) (pid int, e syscall.Errno) {
	r, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || r != 0 {
		return int(r), e
	}
	settle(pipe, upper, disk, mounts, from, to)
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// settle runs the stages from..to and writes a record of each to pipe, and of each mount.
//
//go:nosplit
//go:norace
//go:noinline
func settle(pipe, upper, disk int, mounts []leaving, from, to int) {
	for stage := from; stage <= to; stage++ {
		var e syscall.Errno
		switch stage {
		case stageUnmount:
			for i := range mounts {
				record(pipe, stageUnmount, leave(&mounts[i]))
			}
			continue
		case stageFlush:
			_, _, e = syscall.RawSyscall(unix.SYS_SYNCFS, uintptr(upper), 0, 0)
		case stageReadOnly:
			if e = remount(uintptr(upper), &nothing[0]); e == 0 {
				e = unclean(disk)
			}
		case stageSync:
			syscall.RawSyscall(syscall.SYS_SYNC, 0, 0, 0)
		case stageFreeze:
			if e = freeze(uintptr(upper)); e == 0 {
				e = unclean(disk)
			}
		}
		record(pipe, byte(stage), e)
	}
}

// leave flushes and unmounts a mount. If it is busy, its file system becomes read-only, or is
// frozen while files are open for writing. A mount that has gone meanwhile is no error.
//
//go:nosplit
//go:norace
//go:noinline
func leave(m *leaving) syscall.Errno {
	var lost syscall.Errno
	if m.block {
		if fd := open(m.path); fd >= 0 {
			_, _, lost = syscall.RawSyscall(unix.SYS_SYNCFS, uintptr(fd), 0, 0)
			syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
		}
	}
	_, _, e := syscall.RawSyscall(unix.SYS_UMOUNT2, uintptr(unsafe.Pointer(m.path)), unix.UMOUNT_NOFOLLOW, 0)
	if e == unix.EBUSY && m.block {
		if e = remount(atCwd, m.path); e == unix.EBUSY {
			if fd := open(m.path); fd >= 0 {
				e = freeze(uintptr(fd))
				syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
			}
		}
	} else if e == unix.EBUSY || e == unix.EINVAL || e == unix.ENOENT {
		e = 0
	}
	if e == 0 {
		e = lost
	}
	if e == 0 && m.disk != nil {
		if fd := open(m.disk); fd >= 0 {
			e = unclean(fd)
			syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
		}
	}
	return e
}

// atCwd is AT_FDCWD.
const atCwd = ^uintptr(99)

// open opens path for reading. It returns a negative number if that fails.
//
//go:nosplit
//go:norace
func open(path *byte) int {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, _, e := syscall.RawSyscall6(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(path)), flags, 0, 0, 0)
	if e != 0 {
		return -1
	}
	return int(fd)
}

// freeze freezes the file system of a descriptor. One that is frozen already is no error.
//
//go:nosplit
//go:norace
func freeze(fd uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, fd, fiFreeze, 0)
	if e == unix.EBUSY {
		e = 0
	}
	return e
}

// remount makes a file system read-only: that of path, or of the directory at if path is empty.
// fspick takes the detached mount of the overlay disk by its descriptor, where mount(2) would need
// a path. It reconfigures the whole file system and not just this mount
// of it, because overlayfs writes through another mount.
//
//go:nosplit
//go:norace
func remount(at uintptr, path *byte) syscall.Errno {
	fs, _, e := syscall.RawSyscall(unix.SYS_FSPICK, at, uintptr(unsafe.Pointer(path)),
		unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)
	if e != 0 {
		return e
	}
	_, _, e = syscall.RawSyscall6(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_FLAG,
		uintptr(unsafe.Pointer(&readOnly)), 0, 0, 0)
	if e == 0 {
		_, _, e = syscall.RawSyscall6(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_RECONFIGURE, 0, 0, 0,
			0)
	}
	syscall.RawSyscall(syscall.SYS_CLOSE, fs, 0, 0)
	return e
}

// unclean returns EUCLEAN if the superblock says that the file system is not clean. One that has
// met an error accepts all of the calls above silently, or was read-only already
// (errors=remount-ro). The read is current, because ext4 keeps its superblock in the same cache.
//
//go:nosplit
//go:norace
func unclean(disk int) syscall.Errno {
	// struct ext4_super_block is at 1024. In it s_state is at 58 and s_feature_incompat at 96, both
	// little-endian.
	var b [40]byte
	n, _, e := syscall.RawSyscall6(syscall.SYS_PREAD64, uintptr(disk), uintptr(unsafe.Pointer(&b)),
		uintptr(len(b)), 1024+58, 0, 0)
	const (
		valid, failed = 1, 2 // EXT4_VALID_FS, EXT4_ERROR_FS
		recovery      = 4    // EXT4_FEATURE_INCOMPAT_RECOVER
	)
	switch {
	case e != 0:
		return e
	case n != uintptr(len(b)) || b[0]&(valid|failed) != valid || b[96-58]&recovery != 0:
		return unix.EUCLEAN
	}
	return 0
}

// record writes a stage and its errno to pipe. An errno is 133 at most.
//
//go:nosplit
//go:norace
func record(pipe int, stage byte, e syscall.Errno) {
	r := [2]byte{stage, byte(e)}
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&r)), 2)
}
