package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"wick/reactor"
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

// random returns 64 bits that cannot be guessed. It never waits: a machine that has no entropy yet,
// in its first second, gets the best that the kernel has, and from one before Linux 5.6 the clock.
func random() uint64 {
	var n uint64
	for _, flags := range [...]uintptr{unix.GRND_INSECURE, unix.GRND_NONBLOCK} {
		got, _, errno := unix.RawSyscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n), flags)
		if errno == 0 && got == unsafe.Sizeof(n) {
			return n
		}
	}
	return uint64(reactor.Now())
}
