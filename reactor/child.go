package reactor

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reapBatch is the most children reaped in one turn.
	reapBatch = 64
	// statusLost is the status of a child that another wait has reaped: exit code 255.
	statusLost unix.WaitStatus = 255 << 8
	// tracedPause is the time between two attempts to reap a child while a debugger traces it.
	tracedPause = 100 * time.Millisecond
)

// ChildHandler handles the end of a child.
type ChildHandler interface {
	// Exited is called once for each successful Spawn. The child is reaped, and its pid may
	// be reused. If the program was never executed, [Child.Failure] says why.
	Exited(status unix.WaitStatus)
}

// StartHandler is a ChildHandler that handles the start too.
type StartHandler interface {
	ChildHandler
	// Started is called before Exited: when the program has been executed, or when a signal has
	// ended the child before that. It is not called after a failure.
	Started()
}

// Child is a child process, the leader of a process group. The zero Child is not running.
type Child struct {
	pidfd   Descriptor
	loop    *Loop
	handler ChildHandler
	pid     int
	usage   Usage
	retry   Timer // to reap it, if a debugger has it

	starting  Descriptor // reaches its end when the program is executed
	report    *report
	path, dir string // for the failure
	searched  bool
	failure   error

	confinement *Confinement // for the failure
}

// Spawn forks a child that executes the command, as the leader of a new process group. It does
// not wait for that: a file system, a lease on the program, or a signal that stops the child may
// delay it for ever. The error is an *Error if the fork fails, or a step before it. A later
// failure ends the child, and is its [Child.Failure].
func (l *Loop) Spawn(c *Child, cmd *Command, h ChildHandler) error {
	if c.pid != 0 {
		panic("reactor: child spawned twice")
	}
	r, err := l.spawner.takeReport()
	if err != nil {
		return wrap("mmap", cmd.Path, err)
	}
	tell := [2]int{-1, 0}
	if cmd.Tell {
		if err := unix.Pipe2(tell[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			l.spawner.free = append(l.spawner.free, r)
			return wrap("pipe", "process", err)
		}
	}
	pid, pidfd, err := l.spawner.start(cmd, r, tell[1])
	if cmd.Tell {
		unix.Close(tell[1])
	}
	if err != nil {
		l.spawner.free = append(l.spawner.free, r)
		if cmd.Tell {
			unix.Close(tell[0])
		}
		if e, ok := err.(*Error); ok {
			return e
		}
		return wrap("exec", cmd.Path, err)
	}
	if pidfd < 0 {
		pidfd, _ = unix.PidfdOpen(pid, 0)
	}
	c.loop, c.handler, c.pid = l, h, pid
	c.report, c.path, c.dir, c.searched, c.failure = r, cmd.Path, cmd.Dir, cmd.searches(), nil
	c.confinement = cmd.Confinement
	l.children = append(l.children, c)
	if pidfd >= 0 {
		// If it has exited already, its pidfd is readable already.
		l.Attach(&c.pidfd, pidfd, (*pidfdHandler)(c))
		c.pidfd.Want(Read)
	}
	if cmd.Tell {
		l.Attach(&c.starting, tell[0], (*startingHandler)(c))
		c.starting.Want(Read)
	}
	return nil
}

// startingHandler is a child as the handler of the end of its start.
type startingHandler Child

func (h *startingHandler) Ready(Events) { (*Child)(h).started() }

// started calls the handler's Started once, if the command asks for it.
func (c *Child) started() {
	if !c.starting.Open() {
		return
	}
	c.starting.Close()
	if c.report.errno == 0 {
		c.confinement = nil
		defer contain(c.handler, nil)
		c.handler.(StartHandler).Started()
	}
}

// Failure returns why the program was never executed: an *Error whose Op is the stage of the
// start that failed, such as [OpExec] or [OpDirectory]. It is nil if the program was executed, or
// a signal came first. It is valid from [ChildHandler.Exited] on.
func (c *Child) Failure() error { return c.failure }

// PID returns the number of the process and of its group; 0 when it is not running.
func (c *Child) PID() int { return c.pid }

// Pidfd returns its pidfd, which the child owns; 0 when it is not running or has none.
func (c *Child) Pidfd() int {
	if c.pid == 0 || !c.pidfd.Open() {
		return 0
	}
	return c.pidfd.FD()
}

// Running reports whether the child has not been reaped yet.
func (c *Child) Running() bool { return c.pid != 0 }

// Usage is what a process and its reaped descendants have used.
type Usage struct {
	User, System time.Duration
	Peak         int64 // bytes of memory of the largest of them
}

// Usage returns what the child had used when it was reaped. It is zero if another wait reaped it.
// It is valid from [ChildHandler.Exited] on.
func (c *Child) Usage() Usage { return c.usage }

// Signal sends a signal to the child alone. Once the child is reaped it does nothing, because
// another process may have its number.
func (c *Child) Signal(sig unix.Signal) {
	if c.pid != 0 {
		unix.Kill(c.pid, sig)
	}
}

// SignalGroup sends a signal to the child's process group. Once the child is reaped it does
// nothing.
func (c *Child) SignalGroup(sig unix.Signal) {
	if c.pid != 0 && unix.Kill(-c.pid, sig) == unix.ESRCH {
		unix.Kill(c.pid, sig) // it has not created the group yet
	}
}

// Reap reaps the child if it has exited, and calls its handler, even if the event of its exit has
// not been fetched yet.
func (c *Child) Reap() {
	if c.pid != 0 {
		c.loop.reap(c.pid)
	}
}

// pidfdHandler keeps Ready and Expired out of Child's own methods.
type pidfdHandler Child

func (h *pidfdHandler) Ready(Events) {
	c := (*Child)(h)
	if !c.loop.reap(c.pid) {
		// It has exited, but the debugger that traces it must wait for it first:
		// ptrace(2). Its pidfd stays readable meanwhile.
		c.pidfd.Want(0)
		c.loop.Start(&c.retry, tracedPause, h)
	}
}

// Expired tries again.
func (h *pidfdHandler) Expired(*Timer) { h.pidfd.Want(Read) }

// reap reaps pid, or any child with -1. It reports whether there was one to reap.
func (l *Loop) reap(pid int) bool {
	var status unix.WaitStatus
	var usage unix.Rusage
	for {
		got, err := wait(pid, &status, &usage)
		if err == unix.EINTR {
			continue
		}
		if c := l.child(pid); c != nil && err == unix.ECHILD {
			// Another wait has reaped it. Its pidfd would stay readable for ever.
			got, status, err = pid, statusLost, nil
		}
		if err != nil || got == 0 {
			return false
		}
		if c := l.child(got); c != nil {
			l.children = slices.DeleteFunc(l.children, func(other *Child) bool { return other == c })
			c.usage = Usage{time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano()), usage.Maxrss << 10}
			c.exited(status)
		}
		return true
	}
}

// child returns the child with that pid, or nil. A search is as fast as a map, because there are
// few.
func (l *Loop) child(pid int) *Child {
	for _, c := range l.children {
		if c.pid == pid {
			return c
		}
	}
	return nil
}

func (c *Child) exited(status unix.WaitStatus) {
	defer contain(c.handler, nil)
	c.started()
	c.failure = c.report.failure(c)
	c.confinement = nil
	c.loop.spawner.free = append(c.loop.spawner.free, c.report)
	c.report = nil
	c.pid = 0
	c.pidfd.Close()
	c.retry.Stop()
	c.handler.Exited(status)
}

// ReapOrphans reaps all children that have exited, orphans included, and calls the handlers of
// those that Spawn started. An init calls it on SIGCHLD, which it has claimed. It reaps at most
// 64 in a turn. If there may be more, it raises the signal again for the next turn.
func (l *Loop) ReapOrphans() {
	for ; l.quota > 0; l.quota-- {
		if !l.reap(-1) {
			return
		}
	}
	raise(unix.SIGCHLD)
}

// Children yields the children that are running.
func (l *Loop) Children(yield func(*Child) bool) {
	for _, c := range slices.Clone(l.children) {
		if !yield(c) {
			return
		}
	}
}

// Childless reports whether the process has no children at all, running or not yet reaped. In an
// init this means that no other process is left.
func (l *Loop) Childless() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
}
