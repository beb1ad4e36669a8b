package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls that a list makes for every entry, with the name as the kernel gave it, NUL and all: package unix would copy it each time.

// statxAt is statx(2).
func statxAt(dir int, name []byte, flags int, st *unix.Statx_t) error {
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(flags),
		unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(st)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// readlinkAt is readlinkat(2).
func readlinkAt(dir int, name, target []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(unsafe.SliceData(target))), uintptr(len(target)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
