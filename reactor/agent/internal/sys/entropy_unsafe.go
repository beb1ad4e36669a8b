package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxEntropy is the most entropy that AddEntropy takes, in bytes.
const MaxEntropy = 512

// AddEntropy credits the kernel's random number generator with bytes, and has it reseed at once;
// random(4). It requires CAP_SYS_ADMIN.
func AddEntropy(b []byte) error {
	const path = "/dev/urandom"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return NewError("open", path, err)
	}
	defer unix.Close(fd)
	var pool struct { // rand_pool_info
		bits, size int32
		bytes      [MaxEntropy]byte
	}
	pool.size = int32(copy(pool.bytes[:], b))
	pool.bits = 8 * pool.size
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.RNDADDENTROPY,
		uintptr(unsafe.Pointer(&pool))); errno != 0 {
		return NewError("RNDADDENTROPY", path, errno)
	}
	return Wrap("RNDRESEEDCRNG", path, unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0))
}

// random returns 64 bits that cannot be guessed. It never waits. In its first second a machine may
// have no entropy yet. The kernel's best is used then, and before Linux 5.6 the clock.
func random() uint64 {
	var n uint64
	for _, flags := range [...]uintptr{unix.GRND_INSECURE, unix.GRND_NONBLOCK} {
		got, _, errno := unix.RawSyscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&n)),
			unsafe.Sizeof(n), flags)
		if errno == 0 && got == unsafe.Sizeof(n) {
			return n
		}
	}
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return uint64(t.Nano())
}
