package agent

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// become carries the plan out, and returns only if that fails. Every call is raw, and everything that it needs is made before the first
// limit is on: from then on the runtime may get no memory, no thread and no time.
func (p *startPlan) become(env []string) (framing.StartStage, unix.Errno) {
	path, err := syscall.BytePtrFromString(p.path)
	if err != nil {
		return framing.StageExec, unix.EINVAL
	}
	dir, err := syscall.BytePtrFromString(p.dir)
	if err != nil {
		return framing.StageDirectory, unix.EINVAL
	}
	argv, err := syscall.SlicePtrFromStrings(p.args)
	if err != nil {
		return framing.StageExec, unix.EINVAL
	}
	envv, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return framing.StageExec, unix.EINVAL
	}
	for i := range p.limits {
		l := &p.limits[i]
		pair := [2]uint64{l.Soft, l.Hard} // struct rlimit64 of prlimit(2)
		if _, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(l.Resource), uintptr(unsafe.Pointer(&pair)), 0, 0, 0); errno != 0 {
			return framing.StageLimits, errno
		}
	}
	if u := p.user; u != nil {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(unsafe.Pointer(unsafe.SliceData(u.Groups))), 0); errno != 0 {
			return framing.StageUser, errno
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGID, uintptr(u.GID), 0, 0); errno != 0 {
			return framing.StageUser, errno
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETUID, uintptr(u.UID), 0, 0); errno != 0 {
			return framing.StageUser, errno
		}
	}
	if p.dir != "" {
		if _, _, errno := unix.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(dir)), 0, 0); errno != 0 {
			return framing.StageDirectory, errno
		}
	}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])))
	return framing.StageExec, errno
}
