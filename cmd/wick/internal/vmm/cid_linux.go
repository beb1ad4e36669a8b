package vmm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vhostVsockSetGuestCID is VHOST_VSOCK_SET_GUEST_CID, _IOW(0xAF, 0x60, __u64).
const vhostVsockSetGuestCID = 0x4008af60

// FreeCID opens /dev/vhost-vsock and takes a CID that no other machine on this host has. The CID is
// ours until the descriptor and all its copies are closed. QEMU gets a copy, so no process can take
// the CID in between.
func FreeCID() (f *os.File, cid uint32, err error) {
	f, err = os.OpenFile("/dev/vhost-vsock", os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	for range 100 {
		n := uint64(3 + rand.Uint32N(1<<31-3))
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), vhostVsockSetGuestCID,
			uintptr(unsafe.Pointer(&n)))
		switch {
		case errno == 0:
			return f, uint32(n), nil
		case !errors.Is(errno, unix.EADDRINUSE):
			f.Close()
			return nil, 0, fmt.Errorf("take a vsock CID: %w", errno)
		}
	}
	f.Close()
	return nil, 0, fmt.Errorf("take a vsock CID: 100 that were tried are in use: %w",
		unix.EADDRINUSE)
}
