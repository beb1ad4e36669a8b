package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Recv is recv(2) on a non-blocking socket.
func Recv(fd int, b []byte, flags int) (int, error) {
	return raw(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), uintptr(flags))
}

// Send is send(2) on a non-blocking socket, with MSG_NOSIGNAL.
func Send(fd int, b []byte) (int, error) {
	return raw(unix.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), unix.MSG_NOSIGNAL)
}

// RecvControl is recvmsg(2) on a non-blocking socket. It returns the length of the content and that
// of the control messages. cut reports whether there was more of either.
func RecvControl(fd int, b, control []byte) (n, controlN int, cut bool, err error) {
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	h := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: &control[0]}
	h.SetControllen(len(control))
	n, err = raw(unix.SYS_RECVMSG, fd, unsafe.Pointer(&h), unix.MSG_CMSG_CLOEXEC, 0)
	if err != nil {
		return 0, 0, false, err
	}
	cut = h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0
	return n, int(h.Controllen), cut, nil
}

// WithAddress makes the call trap, connect(2) or bind(2), with an address as the kernel has it. The
// runtime knows of the call, because the lookup of a path may take its time.
func WithAddress(trap uintptr, fd int, address []byte) error {
	_, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&address[0])), uintptr(len(address)))
	return asError(errno)
}

// AddressOf makes the call trap, getsockname(2) or getpeername(2). It fills b with an address as
// the kernel has it, and returns its length, or 0 if there is no address.
func AddressOf(trap uintptr, fd int, b []byte) int {
	length := uint32(len(b))
	if _, err := raw(trap, fd, unsafe.Pointer(&b[0]), uintptr(unsafe.Pointer(&length)), 0); err != nil {
		return 0
	}
	return min(int(length), len(b))
}
