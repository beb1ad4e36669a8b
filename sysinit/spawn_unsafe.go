//go:build linux

package sysinit

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spawn starts a program in a child.
func spawn(s *spawning) (int, syscall.Errno) {
	return withoutSignals(func() (int, syscall.Errno) { return forkExec(s) })
}

// spawning is a program to start, as execve(2) takes it. null is a descriptor for its standard
// input and output; its standard error is that of this process. The last of args is nil.
type spawning struct {
	args    [5]*byte
	environ [2]*byte
	null    uintptr
}

// noSignals is an empty signal set.
var noSignals uint64

// forkExec starts a program and returns its process id. A program that cannot be executed ends with
// the code 127. No descriptor is inherited, because all are close-on-exec.
//
//go:nosplit
//go:norace
//go:noinline
func forkExec(s *spawning) (pid int, e syscall.Errno) {
	r, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || r != 0 {
		return int(r), e
	}
	syscall.RawSyscall(syscall.SYS_DUP3, s.null, 0, 0)
	syscall.RawSyscall(syscall.SYS_DUP3, s.null, 1, 0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&noSignals)), 0, unsafe.Sizeof(noSignals), 0, 0)
	syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(s.args[0])),
		uintptr(unsafe.Pointer(&s.args)), uintptr(unsafe.Pointer(&s.environ)))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
