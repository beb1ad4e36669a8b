package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls of the data path, and of commands, skip the runtime's bookkeeping for calls that may
// block. On non-blocking descriptors they do not block. With the bookkeeping, the runtime's monitor
// thread would look for such calls every 20 µs.

// recv calls read(2).
func recv(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// send calls send(2). If the far end is gone it returns EPIPE, without a signal.
func send(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// splice calls splice(2) without waiting. One side is a pipe, and the other must be non-blocking.
func splice(from, to, n int) (int, error) {
	moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if errno != 0 {
		return 0, errno
	}
	return int(moved), nil
}

// sendfile calls sendfile(2) from an offset.
func sendfile(to, from int, offset int64, n int) (int, error) {
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(to), uintptr(from), uintptr(unsafe.Pointer(&offset)), uintptr(n), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), nil
}

// accept calls accept4(2) for a connection that is non-blocking and close-on-exec. unix.Accept4
// would link the addresses of every family, 4 kB.
func accept(fd int) (int, Peer, error) {
	var from unix.RawSockaddrVM
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, Peer{}, errno
	}
	if from.Family != unix.AF_VSOCK {
		return int(n), Peer{}, nil // the buffer may have truncated the address, which is not used
	}
	return int(n), Peer{from.Cid, from.Port}, nil
}

// wait calls wait4(2) with WNOHANG.
func wait(pid int, status *unix.WaitStatus, usage *unix.Rusage) (int, error) {
	var code int32
	n, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&code)), unix.WNOHANG, uintptr(unsafe.Pointer(usage)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	*status = unix.WaitStatus(uint32(code))
	return int(n), nil
}

// shut calls close(2). The descriptor is closed even if a signal interrupts the call.
func shut(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// pollEvents calls epoll_wait(2), which blocks without the runtime's knowledge. Its preemption
// signal may interrupt it with EINTR.
func pollEvents(epfd int, events []unix.EpollEvent, milliseconds int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
