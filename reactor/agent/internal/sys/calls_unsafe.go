package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are the system calls of the most frequent requests, which run a command or write a file.
// Package unix announces each call to the runtime, so that other goroutines can run meanwhile. The
// agent has no others, but the runtime's monitor thread takes the processor from the call, and then
// looks again every 20 µs. A write of 4 KiB costs 9 switches between threads that way, and 3
// without. The runtime does not know of the calls here. It interrupts any that takes longer than 10
// ms, so those that may wait are repeated after EINTR.

// raw makes a call with a descriptor, a pointer and two numbers.
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

// Openat calls openat(2) with the flags as they are.
func Openat(dir int, path string, flags int, mode uint32) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	return raw(unix.SYS_OPENAT, dir, unsafe.Pointer(p), uintptr(flags), uintptr(mode))
}

// Fstatat calls fstatat(2).
func Fstatat(dir int, path string, st *unix.Stat_t, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_NEWFSTATAT, uintptr(dir),
			uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(st)), uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return asError(errno)
		}
	}
}

// Fstat calls fstat(2).
func Fstat(fd int, st *unix.Stat_t) error {
	_, err := raw(unix.SYS_FSTAT, fd, unsafe.Pointer(st), 0, 0)
	return err
}

// Read calls read(2) for a file or a non-blocking descriptor.
func Read(fd int, b []byte) (int, error) {
	return raw(unix.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), 0)
}

// Write calls write(2) for a file or a non-blocking descriptor.
func Write(fd int, b []byte) (int, error) {
	return raw(unix.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), 0)
}

// Pread calls pread(2).
func Pread(fd int, b []byte, offset int64) (int, error) {
	return raw(unix.SYS_PREAD64, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		uintptr(offset))
}

// Pwrite calls pwrite(2).
func Pwrite(fd int, b []byte, offset int64) (int, error) {
	return raw(unix.SYS_PWRITE64, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		uintptr(offset))
}

// Fchmod calls fchmod(2).
func Fchmod(fd int, mode uint32) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FCHMOD, uintptr(fd), uintptr(mode), 0)
	return asError(errno)
}

// Fremovexattr calls fremovexattr(2).
func Fremovexattr(fd int, name string) error {
	p, err := unix.BytePtrFromString(name)
	if err == nil {
		_, err = raw(unix.SYS_FREMOVEXATTR, fd, unsafe.Pointer(p), 0, 0)
	}
	return err
}

// ListxattrSize returns how many bytes listxattr(2) needs.
func ListxattrSize(path string) (int, error) {
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

// RenameIn renames a file within an open directory. The flags are those of renameat2(2).
func RenameIn(dir int, from, to string, flags uintptr) error {
	p, err := unix.BytePtrFromString(from)
	if err != nil {
		return err
	}
	q, err := unix.BytePtrFromString(to)
	if err != nil {
		return err
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_RENAMEAT2, uintptr(dir),
			uintptr(unsafe.Pointer(p)), uintptr(dir), uintptr(unsafe.Pointer(q)), flags, 0)
		if errno != unix.EINTR {
			return asError(errno)
		}
	}
}

// SetNonblock sets O_NONBLOCK for the end of a new pipe, which has no other flags.
func SetNonblock(fd int) {
	unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK)
}

// GrowPipe sets the capacity of a pipe, in bytes. The kernel may refuse it to a user with many
// pipes.
func GrowPipe(fd, size int) {
	unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETPIPE_SZ, uintptr(size))
}

// Close calls close(2). The descriptor is closed even if a signal interrupts the call.
func Close(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// Alias returns b as a string without a copy. The string is valid until b is written to.
func Alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// ChildSubreaper reports whether the process is a child subreaper; prctl(2).
func ChildSubreaper() bool {
	var is int32
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER,
		uintptr(unsafe.Pointer(&is)), 0, 0, 0, 0)
	return errno == 0 && is != 0
}
