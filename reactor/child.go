package reactor

import (
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reapBatch is the most children reaped in one turn.
	reapBatch = 64
	// statusLost is the status of a child whose own somebody else took: exit code 255.
	statusLost unix.WaitStatus = 255 << 8
	// deafPause is how long to wait before epoll is asked again to watch what it had no memory for, or a child that cannot be reaped yet.
	deafPause = 100 * time.Millisecond
)

// Command says what to run, for [Loop.Spawn].
type Command struct {
	Path string   // of the executable
	Args []string // from argv[0] on
	Env  []string // KEY=value; nil for what SetEnv was given
	// Files are the descriptors 0, 1 and 2. They stay the caller's; nothing else is inherited, for every descriptor of this package is close-on-exec.
	Files [3]int
	// Status is inherited as descriptor 3, or 0 for none.
	Status int
	// Cgroup is the directory of the cgroup2 that it starts in, or 0 for the one that this process is in.
	Cgroup int
	// Dir is the working directory, looked up with the rights of its user. Empty for this process's own.
	Dir string
	// User is who it is; nil for who this process is.
	User *User
	// Terminal: descriptor 0 is a terminal, which becomes that of a new session that the process leads.
	Terminal bool
}

// User is the identity of a process.
type User struct {
	UID, GID uint32
	Groups   []uint32 // besides GID
}

// ChildHandler is who is told of a child's end.
type ChildHandler interface {
	// Exited is called once for each successful Spawn. The child is reaped: its pid may be another's.
	Exited(status unix.WaitStatus)
}

// Child is one process of this program's own, the leader of a process group. The zero Child is not running.
type Child struct {
	pidfd   Descriptor
	loop    *Loop
	handler ChildHandler
	pid     int
	usage   Usage
	retry   Timer // to watch the pidfd
}

// Spawn starts the command as the leader of a new process group. It blocks until the executable is loaded, about 0.15 ms. The error
// is an *Error with the errno of fork, of what is done before exec (for the user, then for the directory), or of exec: ENOENT is a
// missing executable.
func (l *Loop) Spawn(c *Child, cmd *Command, h ChildHandler) error {
	if c.pid != 0 {
		panic("reactor: child spawned twice")
	}
	pid, pidfd, err := l.start(cmd)
	if err != nil {
		return wrap("exec", cmd.Path, err)
	}
	c.loop, c.handler, c.pid = l, h, pid
	l.children = append(l.children, c)
	if pidfd >= 0 {
		// It may have exited already; then its pidfd is readable already.
		l.Attach(&c.pidfd, pidfd, (*pidfdHandler)(c))
		c.pidfd.Want(Read)
	}
	return nil
}

// reserveThread has the runtime start the thread that it needs once a goroutine was ever locked to its own, as Spawn does: now, and not
// when the machine may be out of threads, for it ends the program if it gets none.
func reserveThread() {
	if inheritedMask != 0 {
		runtime.LockOSThread()
		runtime.UnlockOSThread()
	}
}

// start forks and executes, by the quicker way if there is one.
func (l *Loop) start(cmd *Command) (pid, pidfd int, err error) {
	// A number that is less than its place would be replaced before it is copied.
	if f := &cmd.Files; !l.slowFork && cmd.plain() && f[1] >= 1 && f[2] >= 2 {
		argv, err := syscall.SlicePtrFromStrings(cmd.Args)
		if err != nil {
			return 0, -1, err
		}
		envv := l.envv
		if cmd.Env != nil || envv == nil {
			if envv, err = syscall.SlicePtrFromStrings(cmd.Env); err != nil {
				return 0, -1, err
			}
		}
		pid, pidfd, err, unable := fork(cmd, argv, envv)
		if !unable {
			return pid, pidfd, err
		}
		l.slowFork = true
	}
	return l.forkExec(cmd)
}

// plain reports whether the quicker way can do it.
func (cmd *Command) plain() bool {
	return cmd.Status == 0 && cmd.Dir == "" && cmd.User == nil && !cmd.Terminal
}

// SetEnv sets the environment of the commands that have none of their own, which is empty until then. It keeps env. The error is an *Error
// with EINVAL: an entry has a NUL.
func (l *Loop) SetEnv(env []string) (err error) {
	l.env = env
	l.envv, err = syscall.SlicePtrFromStrings(env)
	return wrap("setenv", "", err)
}

// forkExec is the way of package syscall.
func (l *Loop) forkExec(cmd *Command) (pid, pidfd int, err error) {
	pidfd = -1
	attr := syscall.ProcAttr{
		Dir:   cmd.Dir,
		Env:   cmd.Env,
		Files: []uintptr{uintptr(cmd.Files[0]), uintptr(cmd.Files[1]), uintptr(cmd.Files[2])},
		Sys:   &syscall.SysProcAttr{Setpgid: !cmd.Terminal, PidFD: &pidfd, UseCgroupFD: cmd.Cgroup != 0, CgroupFD: cmd.Cgroup},
	}
	if cmd.Env == nil {
		attr.Env = l.env
	}
	if cmd.Status != 0 {
		attr.Files = append(attr.Files, uintptr(cmd.Status))
	}
	if cmd.Terminal {
		attr.Sys.Setsid, attr.Sys.Setctty, attr.Sys.Ctty = true, true, 0
	}
	if u := cmd.User; u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	if inheritedMask != 0 {
		// The child gets the mask of the thread that forks, so it must still be this one then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		unblockSignals()
	}
	if limit := limitForChild(); limit != nil {
		unix.Setrlimit(unix.RLIMIT_NOFILE, limit)
		defer unix.Setrlimit(unix.RLIMIT_NOFILE, &raisedFiles)
	}
	pid, err = syscall.ForkExec(cmd.Path, cmd.Args, &attr)
	return pid, pidfd, err
}

// PID is the process and its group; 0 when it is not running.
func (c *Child) PID() int { return c.pid }

// Running reports whether the child has not been reaped yet.
func (c *Child) Running() bool { return c.pid != 0 }

// Usage is what a process used, with those of its descendants that were waited for.
type Usage struct {
	User, System time.Duration
	Peak         int64 // bytes of memory, of the one of them that had most
}

// Usage is what the child had used when it was reaped. It is for [ChildHandler.Exited] and later; zero if somebody else waited for it.
func (c *Child) Usage() Usage { return c.usage }

// Signal sends a signal to the child alone, and SignalGroup to its process group. Once the child is reaped they do nothing: the
// number may name another by then.
func (c *Child) Signal(sig unix.Signal) {
	if c.pid != 0 {
		unix.Kill(c.pid, sig)
	}
}

// SignalGroup sends a signal to its process group, by the same rule.
func (c *Child) SignalGroup(sig unix.Signal) {
	if c.pid != 0 {
		unix.Kill(-c.pid, sig)
	}
}

// Reap tells the handler of the child's end at once if it has come to it, whether or not its event was among those that were fetched.
func (c *Child) Reap() {
	if c.pid != 0 {
		c.loop.reap(c.pid)
	}
}

// pidfdHandler keeps Ready and Expired out of Child's own methods.
type pidfdHandler Child

func (h *pidfdHandler) Ready(ev Events) {
	c := (*Child)(h)
	if ev&Deaf != 0 || !c.loop.reap(c.pid) {
		// There was no memory to watch it, or it has exited and a debugger has it, which is to wait for it first: ptrace(2). Its pidfd is
		// readable all that time.
		c.pidfd.Want(0)
		c.loop.Start(&c.retry, deafPause, h)
	}
}

// Expired tries again.
func (h *pidfdHandler) Expired(*Timer) { h.pidfd.Want(Read) }

// reap waits for pid, or for any child with -1, and reports whether there was one to reap.
func (l *Loop) reap(pid int) bool {
	var status unix.WaitStatus
	var usage unix.Rusage
	for {
		got, err := wait(pid, &status, &usage)
		if err == unix.EINTR {
			continue
		}
		if c := l.child(pid); c != nil && err == unix.ECHILD {
			// Somebody else waited for it. Its pidfd would be readable for ever.
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

// child is the own child with that pid. There are so few that looking through them is as quick as a map.
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
	c.pid = 0
	c.pidfd.Close()
	c.retry.Stop()
	c.handler.Exited(status)
}

// ReapOrphans reaps every child that has exited, whoever started it, and tells the handlers of own ones. An init calls it on SIGCHLD, which it
// has claimed. No more than 64 are reaped in a turn: if there may be others the signal is handed out once more in the next, so that
// whoever wants to know when the last is gone learns it.
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

// Childless reports whether the process has no children at all, running or not yet reaped. For an init that is the
// question whether any other process is left.
func (l *Loop) Childless() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
}
