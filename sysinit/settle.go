//go:build linux

package sysinit

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The stages of settling, in order. What matters most comes first: a disk that somebody mounted later and that hangs must not
// keep ours from being clean.
const (
	stageFlush    = iota // syncfs(2) of the overlay disk: also says whether a write was lost since the boot
	stageReadOnly        // remount it read-only, which empties the journal and marks it clean
	stageFreeze          // only if that was EBUSY: FIFREEZE does both too, with files open for writing
	stageSync            // sync(2): all the rest
	stages
)

var stageSteps = [stages]Step{
	{"flush", true, []row{call{"write what the overlay disk is owed", nil}}},
	{"read-only", true, []row{call{"make the overlay disk read-only, and so clean", nil}}},
	{"freeze", true, []row{call{"freeze the overlay disk, since files on it are open", nil}}},
	{"sync", true, []row{call{"write what all other file systems are owed", nil}}},
}

// Settle brings the disks into the state to be switched off in: what was written is on them, and the overlay disk's file system is
// clean, with nothing to replay. From then on the root is read-only (or, where a file was still open for writing, frozen: a write
// to it never returns). With an overlay in memory only other disks are written.
//
// It takes at most limit, and ETIMEDOUT names the stage that hung. A process that waits for a dead disk cannot be
// stopped by anything, so the work is done by a child that can be left behind: a bare clone of this process, which does
// nothing but these few calls. If there is no room for a child (EAGAIN, ENOMEM) it is done here, unbounded: late
// is better than not at all.
//
// It returns the first error, and reports each stage. Settling twice is harmless.
func (r *Root) Settle(limit time.Duration, report Report) error {
	begin := uptime()
	deadline := begin + limit
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		unix.Sync()
		return fault("pipe", "", "", err, "only a plain sync was done")
	}
	upper := -1
	if r != nil {
		upper = r.upper
	}
	pid, errno := forkSettle(pipe[1], upper)
	if errno != 0 {
		settle(pipe[1], upper)
	}
	unix.Close(pipe[1])
	err := follow(pipe[0], begin, deadline, upper, report)
	unix.Close(pipe[0])
	if errno == 0 {
		leave(pid, deadline)
	}
	return err
}

// follow reads the child's records, two bytes each (stage, errno), until it is done or the deadline has passed.
func follow(pipe int, begin, deadline time.Duration, upper int, report Report) error {
	var first error
	next := stageSync
	if upper >= 0 {
		next = stageFlush
	}
	tell := func(stage int, errno syscall.Errno, hint string) {
		now := uptime()
		var err error
		// Open files are not the end of it: the next stage is there for them.
		if errno != 0 {
			e := &StepError{Step: stageSteps[stage].Name, Op: stageOps[stage], Errno: errno, Hint: hint}
			if stage != stageSync {
				e.Object = "the overlay disk"
			}
			err = e
		}
		if err != nil && first == nil && !(stage == stageReadOnly && errno == unix.EBUSY) {
			first = err
		}
		if report != nil {
			report(stageSteps[stage], now-begin, err)
		}
		begin = now
	}
	for {
		var record [2]byte
		switch n, err := readBefore(pipe, record[:], deadline); {
		case err == unix.ETIMEDOUT:
			tell(next, unix.ETIMEDOUT, "the disk does not answer")
			return first
		case err != nil || n != len(record):
			// The end. The child cannot die early but by the kernel's hand.
			if next != stages && first == nil {
				tell(next, unix.ECHILD, "the child that does it is gone")
			}
			return first
		}
		stage, errno := int(record[0]), syscall.Errno(record[1])
		hint := ""
		if stage == stageFlush && errno == unix.EIO {
			hint = "something written since the boot is lost"
		}
		tell(stage, errno, hint)
		next = stage + 1
		if next == stageFreeze && errno != unix.EBUSY {
			next = stageSync
		}
	}
}

var stageOps = [stages]string{"flush", "remount", "freeze", "sync"}

// readBefore is read(2) with a deadline. Records are smaller than PIPE_BUF: they come whole.
func readBefore(fd int, buf []byte, deadline time.Duration) (int, error) {
	for {
		left := deadline - uptime()
		if left < 0 {
			left = 0
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		// Rounded up, or the last millisecond would spin.
		n, err := unix.Poll(poll, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && left == 0:
			return 0, unix.ETIMEDOUT
		case n == 0:
			continue
		}
		n, err = unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// leave reaps the child, or lets go of it if it does not end.
func leave(pid int, deadline time.Duration) {
	for {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == pid {
			return
		}
		if uptime() >= deadline {
			unix.Kill(pid, unix.SIGKILL)
			return
		}
		pause(time.Millisecond)
	}
}

// forkSettle runs settle in a child. Signals are blocked from before the fork until the child has ended: a handler of the runtime's
// would find itself in a process that has one thread and no runtime.
func forkSettle(pipe, upper int) (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, errno(err)
	}
	pid, e := fork(pipe, upper)
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return pid, e
}
