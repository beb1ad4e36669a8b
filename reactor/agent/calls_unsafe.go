package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of what is asked most: a command, and a file that is written. Package unix tells the runtime of each, so that other
// goroutines can run meanwhile. There are none; but the runtime's monitor thread, when it finds a call under way, takes the processor from
// it, and looks every 20 us from then on: 9 switches between threads for a file of 4 KiB, where there are 3 without. Of these it is not
// told. What it does instead is to interrupt what takes longer than 10 ms, so those that may wait begin anew.

// raw makes one with a descriptor, something in memory and two numbers.
func raw(trap uintptr, fd int, b unsafe.Pointer, c, d uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(b), c, d, 0, 0)
		if errno != unix.EINTR {
			return int(n), asError(errno)
		}
	}
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func openat(dir int, path string, flags int, mode uint32) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	return raw(unix.SYS_OPENAT, dir, unsafe.Pointer(p), uintptr(flags), uintptr(mode))
}

func fstatat(dir int, path string, st *unix.Stat_t, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(st)), uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return asError(errno)
		}
	}
}

func fstat(fd int, st *unix.Stat_t) error {
	_, err := raw(unix.SYS_FSTAT, fd, unsafe.Pointer(st), 0, 0)
	return err
}

// read and write are for what does not wait, or is a file.
func read(fd int, b []byte) (int, error) {
	return raw(unix.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), 0)
}

func write(fd int, b []byte) (int, error) {
	return raw(unix.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), 0)
}

func pread(fd int, b []byte, offset int64) (int, error) {
	return raw(unix.SYS_PREAD64, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), uintptr(offset))
}

func pwrite(fd int, b []byte, offset int64) (int, error) {
	return raw(unix.SYS_PWRITE64, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), uintptr(offset))
}

func fchmod(fd int, mode uint32) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FCHMOD, uintptr(fd), uintptr(mode), 0)
	return asError(errno)
}

func fremovexattr(fd int, name string) error {
	p, err := unix.BytePtrFromString(name)
	if err == nil {
		_, err = raw(unix.SYS_FREMOVEXATTR, fd, unsafe.Pointer(p), 0, 0)
	}
	return err
}

// listxattrSize returns how many bytes listxattr(2) would give.
func listxattrSize(path string) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_LISTXATTR, uintptr(unsafe.Pointer(p)), 0, 0)
		if errno != unix.EINTR {
			return int(n), asError(errno)
		}
	}
}

// renameIn renames within a directory; flags as for renameat2(2).
func renameIn(dir int, from, to string, flags uintptr) error {
	p, err := unix.BytePtrFromString(from)
	if err != nil {
		return err
	}
	q, err := unix.BytePtrFromString(to)
	if err != nil {
		return err
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_RENAMEAT2, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(dir), uintptr(unsafe.Pointer(q)), flags, 0)
		if errno != unix.EINTR {
			return asError(errno)
		}
	}
}

// setNonblock is for a pipe that was just made, which has no other flags.
func setNonblock(fd int) { unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK) }

// shut is close(2). The descriptor is gone even if that was interrupted.
func shut(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// alias returns b as text without a copy. It is good until b is written to.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// childSubreaper reports whether the process is a child subreaper; prctl(2).
func childSubreaper() bool {
	var is int32
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&is)), 0, 0, 0, 0)
	return errno == 0 && is != 0
}
