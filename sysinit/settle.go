//go:build linux

package sysinit

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The stages of settling, in order. What matters most comes first: a disk that somebody mounted later and that hangs must not
// keep ours from being clean. It goes before the freeze alone: then files are open, one of them may be another file system, and a
// frozen disk would never take what that is owed.
const (
	stageFlush    = iota // syncfs(2) of the overlay disk: also says whether a write was lost since the boot
	stageReadOnly        // remount it read-only, which empties the journal and marks it clean
	stageSync            // sync(2): all the rest
	stageFreeze          // only if read-only was EBUSY: FIFREEZE does the same, with files open for writing
	stages
)

var stageSteps = [stages]Step{
	{"flush", true, []row{call{"write what the overlay disk is owed", nil}}},
	{"read-only", true, []row{call{"make the overlay disk read-only, and so clean", nil}}},
	{"sync", true, []row{call{"write what all other file systems are owed", nil}}},
	{"freeze", true, []row{call{"freeze the overlay disk, if files on it are open", nil}}},
}

var stageOps = [stages]string{"flush", "remount", "sync", "freeze"}

// Settle brings the disks into the state to be switched off in: what was written is on them, and the overlay disk's file system is
// clean, with nothing to replay. From then on the root is read-only (or, where a file was still open for writing, frozen: a write
// to it never returns). With an overlay in memory only other disks are written.
//
// It takes at most limit, and ETIMEDOUT names the stage that hung. EUCLEAN is a file system that is not clean for all that: it has met an
// error since it was last checked. A process that waits for a dead disk cannot be stopped by anything, so the work is done by children that
// can be left behind: bare clones of this process, which do nothing but these few calls. If there is no room for a child (EAGAIN, ENOMEM)
// it is done here, unbounded: late is better than not at all.
//
// It returns the first error, and reports each stage. Settling twice is harmless.
func (r *Root) Settle(limit time.Duration, report Report) error {
	if r == nil {
		r = &Root{upper: -1, disk: -1}
	}
	begin := uptime()
	s := settling{root: r, report: report, begin: begin, deadline: begin + limit}
	if r.upper >= 0 {
		s.stages(stageFlush, stageReadOnly, s.deadline)
	}
	if !s.busy {
		s.stages(stageSync, stageSync, s.deadline)
		return s.first
	}
	s.stages(stageSync, stageSync, (uptime()+s.deadline)/2) // the rest is for ours
	s.stages(stageFreeze, stageFreeze, s.deadline)
	return s.first
}

// settling is a Settle under way.
type settling struct {
	root     *Root
	report   Report
	begin    time.Duration // of the stage, as uptime
	deadline time.Duration // of all
	first    error
	busy     bool // read-only was refused, since files are open
}

// stages has a child do the stages from one to another, unless the time is over.
func (s *settling) stages(from, to int, deadline time.Duration) {
	if uptime() >= s.deadline {
		if s.first == nil {
			s.tell(from, unix.ETIMEDOUT, "")
		}
		return
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		s.tell(from, errno(err), "")
		return
	}
	pid, errno := forkSettle(pipe[1], s.root, from, to)
	if errno != 0 {
		settle(pipe[1], s.root.upper, s.root.disk, from, to)
	}
	unix.Close(pipe[1])
	s.follow(pipe[0], from, to, deadline)
	unix.Close(pipe[0])
	if errno == 0 {
		leave(pid, deadline)
	}
}

// tell reports how a stage went.
func (s *settling) tell(stage int, errno syscall.Errno, hint string) {
	now := uptime()
	var err error
	if errno != 0 {
		e := &StepError{Step: stageSteps[stage].Name, Op: stageOps[stage], Errno: errno, Hint: hint}
		if stage != stageSync {
			e.Object = "the overlay disk"
		}
		err = e
	}
	// Open files are not the end of it: the freeze is there for them.
	if stage == stageReadOnly && errno == unix.EBUSY {
		s.busy = true
	} else if err != nil && s.first == nil {
		s.first = err
	}
	if s.report != nil {
		s.report(stageSteps[stage], now-s.begin, err)
	}
	s.begin = now
}

// follow reads the child's records, two bytes each (stage, errno), until it is done or the deadline has passed.
func (s *settling) follow(pipe, from, to int, deadline time.Duration) {
	for next := from; next <= to; next++ {
		var record [2]byte
		n, err := readBefore(pipe, record[:], deadline)
		if err == unix.ETIMEDOUT {
			s.tell(next, unix.ETIMEDOUT, "the disk does not answer")
			return
		}
		if err != nil || n != len(record) {
			// The end. The child cannot die early but by the kernel's hand.
			s.tell(next, unix.ECHILD, "the child that does it is gone")
			return
		}
		stage, errno := int(record[0]), syscall.Errno(record[1])
		hint := ""
		switch {
		case stage == stageFlush && errno == unix.EIO:
			hint = "something written since the boot is lost"
		case errno == unix.EUCLEAN || errno == unix.EROFS:
			hint = "its file system has met an error (the kernel's log says more): e2fsck"
		}
		s.tell(stage, errno, hint)
	}
}

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
func forkSettle(pipe int, r *Root, from, to int) (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, errno(err)
	}
	pid, e := fork(pipe, r.upper, r.disk, from, to)
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return pid, e
}
