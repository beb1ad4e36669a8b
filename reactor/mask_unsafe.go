package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// inheritedMask holds the signals that whoever started this process had blocked. Every thread of it has them blocked, less those few
// that the runtime unblocks.
var inheritedMask = signalMask()

func signalMask() (mask uint64) {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, 0, uintptr(unsafe.Pointer(&mask)), 8, 0, 0)
	return mask
}

// unblockSignals clears the calling thread's signal mask.
func unblockSignals() {
	var none uint64
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
}
