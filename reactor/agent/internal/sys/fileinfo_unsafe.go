package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A list makes these calls for every entry. They take the name with its NUL, as getdents(2)
// returned it, because package unix would copy it each time.

// StatxAt calls statx(2) for the basic attributes.
func StatxAt(dir int, name []byte, flags int, st *unix.Statx_t) error {
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir),
		uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(flags),
		unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(st)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ReadlinkAt calls readlinkat(2).
func ReadlinkAt(dir int, name, target []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir),
		uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(unsafe.SliceData(target))), uintptr(len(target)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
