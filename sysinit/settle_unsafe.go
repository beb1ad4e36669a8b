//go:build linux

package sysinit

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The child of a bare fork shares nothing with the runtime's other threads and must not need them: no allocation, no growth of the stack,
// no scheduler. Both functions are nosplit and do raw system calls only; the strings they need lie in the data segment. syscall's own
// forkAndExecInChild lives by the same rules.

var (
	nothing  = [1]byte{0}
	readOnly = [3]byte{'r', 'o', 0}
)

// fiFreeze is FIFREEZE of linux/fs.h, _IOWR('X', 119, int) on every architecture but mips, powerpc and sparc.
const fiFreeze = 0xc0045877

// fork returns the child's process id; in the child it does not return.
//
//go:nosplit
//go:norace
//go:noinline
func fork(pipe, upper int) (pid int, e syscall.Errno) {
	r, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || r != 0 {
		return int(r), e
	}
	settle(pipe, upper)
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// settle does the stages and writes a record of each to pipe.
//
//go:nosplit
//go:norace
//go:noinline
func settle(pipe, upper int) {
	if upper >= 0 {
		_, _, e := syscall.RawSyscall(unix.SYS_SYNCFS, uintptr(upper), 0, 0)
		record(pipe, stageFlush, e)

		// fspick takes the detached mount by its descriptor, where mount(2) would want a path to it. The root is
		// the whole file system, so it is made read-only itself and not this one mount of it: overlayfs writes through another.
		fs, _, e := syscall.RawSyscall(unix.SYS_FSPICK, uintptr(upper), uintptr(unsafe.Pointer(&nothing)),
			unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)
		if e == 0 {
			_, _, e = syscall.RawSyscall6(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_FLAG,
				uintptr(unsafe.Pointer(&readOnly)), 0, 0, 0)
			if e == 0 {
				_, _, e = syscall.RawSyscall6(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_RECONFIGURE, 0, 0, 0, 0)
			}
			syscall.RawSyscall(syscall.SYS_CLOSE, fs, 0, 0)
		}
		record(pipe, stageReadOnly, e)

		if e == unix.EBUSY {
			_, _, e = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(upper), fiFreeze, 0)
			if e == unix.EBUSY {
				e = 0 // frozen already
			}
			record(pipe, stageFreeze, e)
		}
	}
	syscall.RawSyscall(syscall.SYS_SYNC, 0, 0, 0)
	record(pipe, stageSync, 0)
}

// record writes a stage and its errno, which is 133 at most.
//
//go:nosplit
//go:norace
func record(pipe int, stage byte, e syscall.Errno) {
	r := [2]byte{stage, byte(e)}
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&r)), 2)
}
