//go:build !amd64 && !arm64

package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sparse reports whether fork uses neither the stack nor the heap in the child.
const sparse = false

// fork does the same in Go. The child runs on its copy of the stack.
//
//go:nosplit
//go:norace
func fork(b *forkBlock) int {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&b.all)), uintptr(unsafe.Pointer(&b.mask)), 8, 0, 0)
	if b.join != 0 {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETNS, b.join, unix.CLONE_NEWPID, 0); errno != 0 {
			unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&b.mask)), 0, 8, 0, 0)
			return -int(errno)
		}
		b.entered = 1
	}
	a := &b.call.args
	pid, _, errno := unix.RawSyscall6(b.call.number, a[0], a[1], a[2], a[3], a[4], 0)
	if errno != 0 || pid != 0 {
		for left := unix.Errno(b.entered); left != 0; {
			_, _, left = unix.RawSyscall(unix.SYS_SETNS, b.self, unix.CLONE_NEWPID, 0)
		}
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&b.mask)), 0, 8, 0, 0)
		if errno != 0 {
			return -int(errno)
		}
		return int(pid)
	}
	for s := (*step)(unsafe.Pointer(b.first)); ; s = (*step)(unsafe.Add(unsafe.Pointer(s), unsafe.Sizeof(*s))) {
		got, _, errno := unix.RawSyscall6(s.number, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], 0)
		if errno == 0 {
			if s.save != 0 {
				*(*uintptr)(unsafe.Pointer(s.save)) = got
			}
			s = (*step)(unsafe.Add(unsafe.Pointer(s), s.skip))
		}
		if errno != 0 && (errno >= 64 || s.pass>>errno&1 == 0) {
			r := (*report)(unsafe.Pointer(b.report))
			r.stage, r.errno = s.stage, uint64(errno)
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
			*(*int)(nil) = 0 // a seccomp filter denies the exit
		}
	}
}
