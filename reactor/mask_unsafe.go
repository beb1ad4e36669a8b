package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// unblockSignals clears the calling thread's signal mask.
func unblockSignals() {
	var none uint64
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
}
