//go:build linux

package sysinit

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The stages of settling, in order. Other mounts come first, because they may lie on the overlay
// disk, but with half of the time: one that hangs must not keep the overlay disk from being clean.
// The overlay disk comes before the sync for the same reason. Only the freeze comes after it.
// It happens when files are open, and one of them may hold another file system. A frozen disk would
// never take that file system's unwritten data.
const (
	stageUnmount  = iota // unmount, or make read-only, all that is mounted beside the root
	stageFlush           // syncfs(2) of the overlay disk; also reports a write lost since the boot
	stageReadOnly        // remount it read-only, which empties the journal and marks it clean
	stageSync            // sync(2) of everything else
	// only after EBUSY from read-only: FIFREEZE does the same while files are open for writing
	stageFreeze
	stages
)

var stageSteps = [stages]Step{
	{"unmount", true, []row{call{"unmount all other file systems, the last first; make busy ones read-only", nil}}},
	{"flush", true, []row{call{"flush the overlay disk", nil}}},
	{"read-only", true, []row{call{"make the overlay disk read-only, which marks it clean", nil}}},
	{"sync", true, []row{call{"flush all other file systems", nil}}},
	{"freeze", true, []row{call{"freeze the overlay disk if files on it are open", nil}}},
}

var stageOps = [stages]string{"unmount", "flush", "remount", "sync", "freeze"}

// Settle prepares the disks for power-off. All written data is on them, and the overlay disk's file
// system is clean, with nothing to replay. So are the volumes, and what the guest has mounted. From
// then on the root is read-only. If a file was still open for writing, it is frozen instead, and a
// write to it never returns. With an overlay in memory only other disks are written.
//
// Settle takes at most limit. ETIMEDOUT names the stage that hung. EUCLEAN is a file system that is
// still not clean, because it has met an error since it was last checked. A process that waits for
// a dead disk cannot be stopped. So the work is done by children that can be left behind: bare
// clones of this process, which make only these few calls. If no child can be started (EAGAIN,
// ENOMEM), Settle does the work itself, without a limit, because late is better than never.
//
// Settle returns the first error, and reports each stage. It may be called twice.
func (r *Root) Settle(limit time.Duration, report Report) error {
	if r == nil {
		r = &Root{upper: -1, disk: -1}
	}
	begin := uptime()
	s := settling{root: r, report: report, begin: begin, deadline: begin + limit, mounts: r.leavings()}
	if len(s.mounts) > 0 {
		s.stages(stageUnmount, stageUnmount, begin+limit/2)
	}
	if r.upper >= 0 {
		s.stages(stageFlush, stageReadOnly, s.deadline)
	}
	if !s.busy {
		s.stages(stageSync, stageSync, s.deadline)
		return s.first
	}
	// leaves half of the time for the freeze
	s.stages(stageSync, stageSync, (uptime()+s.deadline)/2)
	s.stages(stageFreeze, stageFreeze, s.deadline)
	return s.first
}

// settling is the state of a running Settle.
type settling struct {
	root     *Root
	report   Report
	begin    time.Duration // of the stage, as uptime
	deadline time.Duration // of all stages, as uptime
	first    error
	mounts   []leaving
	busy     bool // read-only was refused because files are open
}

// stages has a child run the stages from..to, unless the time is over.
func (s *settling) stages(from, to int, deadline time.Duration) {
	if uptime() >= s.deadline {
		if s.first == nil {
			s.tell(from, "", unix.ETIMEDOUT, "")
		}
		return
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		s.tell(from, "", errno(err), "")
		return
	}
	pid, errno := forkSettle(pipe[1], s.root, s.mounts, from, to)
	if errno != 0 {
		settle(pipe[1], s.root.upper, s.root.disk, s.mounts, from, to)
	}
	unix.Close(pipe[1])
	s.follow(pipe[0], from, to, deadline)
	unix.Close(pipe[0])
	if errno == 0 {
		reap(pid, deadline)
	}
}

// tell reports the result of a stage. object is a mount's path, or "" for the overlay disk.
func (s *settling) tell(stage int, object string, errno syscall.Errno, hint string) {
	now := uptime()
	var err error
	if errno != 0 {
		e := &StepError{Step: stageSteps[stage].Name, Op: stageOps[stage], Errno: errno, Hint: hint, Object: object}
		if object == "" && stage != stageSync && stage != stageUnmount {
			e.Object = "the overlay disk"
		}
		err = e
	}
	// Open files are not a failure, because the freeze handles them.
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

// follow reads the child's records, two bytes each (stage, errno). It stops at the last stage or at
// the deadline.
func (s *settling) follow(pipe, from, to int, deadline time.Duration) {
	for stage := from; stage <= to; stage++ {
		if stage == stageUnmount {
			s.followMounts(pipe, deadline)
			continue
		}
		errno, hint, ended := s.read(pipe, stage, deadline)
		s.tell(stage, "", errno, hint)
		if ended {
			return
		}
	}
}

// followMounts reads a record of each mount, and reports the first failure of them.
func (s *settling) followMounts(pipe int, deadline time.Duration) {
	var object, hint string
	var failed syscall.Errno
	for i := range s.mounts {
		errno, text, ended := s.read(pipe, stageUnmount, deadline)
		if errno != 0 && (failed == 0 || ended) {
			object, failed, hint = s.mounts[i].name, errno, text
		}
		if ended {
			break
		}
	}
	s.tell(stageUnmount, object, failed, hint)
}

// read reads the next record. ended says that there is no further one.
func (s *settling) read(pipe, stage int, deadline time.Duration) (errno syscall.Errno, hint string, ended bool) {
	var record [2]byte
	n, err := readBefore(pipe, record[:], deadline)
	if err == unix.ETIMEDOUT {
		return unix.ETIMEDOUT, "the disk does not answer", true
	}
	if err != nil || n != len(record) {
		// The pipe has ended. Only the kernel can end the child early.
		return unix.ECHILD, "the child process has ended", true
	}
	errno = syscall.Errno(record[1])
	switch {
	case stage <= stageFlush && errno == unix.EIO:
		hint = "a write since the boot was lost"
	case errno == unix.EUCLEAN || errno == unix.EROFS:
		hint = "its file system has met an error (see the kernel's log); run e2fsck"
	}
	return errno, hint, false
}

// readBefore is read(2) with a deadline. Records are smaller than PIPE_BUF, so they are never
// split.
func readBefore(fd int, buf []byte, deadline time.Duration) (int, error) {
	for {
		left := deadline - uptime()
		if left < 0 {
			left = 0
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		// Round up: rounding down would spin during the last millisecond.
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

// reap waits for the child until the deadline, and then kills it and leaves it behind. It reports
// whether the child has succeeded.
func reap(pid int, deadline time.Duration) bool {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == pid {
			return err == nil && status == 0
		}
		if uptime() >= deadline {
			unix.Kill(pid, unix.SIGKILL)
			return false
		}
		pause(time.Millisecond)
	}
}

// forkSettle runs settle in a child.
func forkSettle(pipe int, r *Root, mounts []leaving, from, to int) (int, syscall.Errno) {
	return withoutSignals(func() (int, syscall.Errno) {
		return fork(pipe, r.upper, r.disk, mounts, from, to)
	})
}

// withoutSignals forks with all signals blocked. They are blocked in the child until it has ended
// or executes a program. A signal handler of the Go runtime would otherwise run in a process with
// one thread and no runtime.
func withoutSignals(fork func() (int, syscall.Errno)) (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, errno(err)
	}
	pid, e := fork()
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return pid, e
}
