package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEntropy is the most entropy of a restore, in bytes.
const maxEntropy = 512

// addEntropy gives the kernel's generator bytes to be trusted, and has it take a new seed at once; random(4). It takes CAP_SYS_ADMIN.
func addEntropy(b []byte) error {
	const path = "/dev/urandom"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return opError("open", path, err)
	}
	defer unix.Close(fd)
	var pool struct { // rand_pool_info
		bits, size int32
		bytes      [maxEntropy]byte
	}
	pool.size = int32(copy(pool.bytes[:], b))
	pool.bits = 8 * pool.size
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&pool))); errno != 0 {
		return opError("RNDADDENTROPY", path, errno)
	}
	return wrapOp("RNDRESEEDCRNG", path, unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0))
}
