//go:build amd64 || arm64

package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// vforkArgs is what vfork reads and writes. The child is given nothing else, and writes nothing else.
//
//lint:ignore U1000 the assembly uses it
type vforkArgs struct {
	clone      cloneArgs
	path       *byte
	argv, envv **byte
	files      [3]int
	limit      *unix.Rlimit // of open descriptors, for the child; may be nil
	all        uint64       // every signal
	mask       uint64       // those that were blocked
	none       uint64       // no signal
	pidfd      int
	err        int // of the child, before it was another program: a negated errno
}

// cloneArgs is struct clone_args of clone(2).
//
//lint:ignore U1000 the kernel reads it
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// vfork blocks all signals, forks a child that shares the memory, and waits until it has executed its program or failed to. It returns
// the child's pid, or a negated errno if there is no child.
//
//go:noescape
func vfork(a *vforkArgs) int

// fork is syscall.ForkExec with what Spawn wants, in less time: the kernel puts the signals' handlers back, which takes the
// child 62 system calls otherwise, and an error of the child is a word in the memory that it shares, and no pipe that the parent has
// to read to its end after it was waked already. unable is true where the kernel has no such clone: before Linux 5.7, or
// under a filter.
func fork(cmd *Command, argv, envv []*byte) (pid, pidfd int, err error, unable bool) {
	path, err := syscall.BytePtrFromString(cmd.Path)
	if err != nil {
		return 0, -1, err, false
	}
	a := vforkArgs{path: path, argv: &argv[0], envv: &envv[0], files: cmd.Files, limit: limitForChild(), all: ^uint64(0)}
	a.clone.flags = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	a.clone.exitSignal = uint64(unix.SIGCHLD)
	if cmd.Cgroup != 0 {
		a.clone.flags |= unix.CLONE_INTO_CGROUP
		a.clone.cgroup = uint64(cmd.Cgroup)
	}
	if pid = vfork(&a); pid < 0 {
		err = unix.Errno(-pid)
		// Some filters say EPERM of what they do not know; with a cgroup it may be about that.
		return 0, -1, err, err == unix.ENOSYS || err == unix.EINVAL || err == unix.EPERM && cmd.Cgroup == 0
	}
	if a.err != 0 {
		unix.Close(int(int32(a.pidfd)))
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
				break
			}
		}
		return 0, -1, unix.Errno(-a.err), false
	}
	return pid, int(int32(a.pidfd)), nil, false
}
