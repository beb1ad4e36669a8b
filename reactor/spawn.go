package reactor

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Command says what to run, for [Loop.Spawn].
type Command struct {
	// Path is the executable. The child looks it up with the rights of its user, from its
	// directory.
	Path string
	// Search lists directories, as PATH does, in which a Path without a slash is looked up.
	// Empty for none.
	Search string
	// Args are the arguments, from argv[0] on.
	Args []string
	// Env is the environment, KEY=value each; nil for that of SetEnv.
	Env []string
	// Files are the descriptors 0, 1 and 2; a negative one is closed. The caller owns them.
	// No other descriptor is inherited.
	Files [3]int
	// Cgroup is a descriptor of the cgroup2 directory to start in; 0 for the cgroup of this
	// process.
	Cgroup int
	// Dir is the working directory, looked up with the rights of the user. Empty for that of
	// this process.
	Dir string
	// User is the user to run as; nil for that of this process.
	User *User
	// Terminal makes descriptor 0, a terminal, the controlling terminal of a new session.
	Terminal bool
	// OOMScore is the text for /proc/self/oom_score_adj. Empty for the score of this process.
	OOMScore string
	// Limits are resource limits to set.
	Limits []Limit
	// Umask is the file mode creation mask; nil for that of this process.
	Umask *uint32
	// Wipe clears the memory in which Args and Env were put together, after the fork.
	Wipe bool
	// Confinement restricts what the program sees and may do; nil for no restriction.
	Confinement *Confinement
	// Tell has Started called when the program has been executed. The handler is a
	// StartHandler.
	Tell bool
}

// User is the identity of a process.
type User struct {
	UID, GID uint32
	Groups   []uint32 // besides GID
}

// Limit is a resource limit; setrlimit(2).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// The stages of a start. The Op of a [Child.Failure] is the name of one.
const (
	stageFork = iota
	stageTerminal
	stageLimits
	stageUser
	stageDirectory
	stageExec
	stageNamespace
	stageMount
	stageRoot
	stageCapabilities
	stageSeccomp
)

// The names of the stages.
const (
	OpFork      = "fork"
	OpTerminal  = "setctty"
	OpLimits    = "setrlimit"
	OpUser      = "setuid"
	OpDirectory = "chdir"
	OpExec      = "exec"

	OpNamespace    = "namespace"
	OpMount        = "mount"
	OpRoot         = "pivot_root"
	OpCapabilities = "capabilities"
	OpSeccomp      = "seccomp"
)

var stageOps = [...]string{
	OpFork, OpTerminal, OpLimits, OpUser, OpDirectory, OpExec,
	OpNamespace, OpMount, OpRoot, OpCapabilities, OpSeccomp,
}

const (
	// imageSize is the memory, in bytes, that is kept for the image of a child. A longer image is
	// mapped for its fork alone.
	imageSize = 32 << 10
	// maxImage limits an image, in bytes. The kernel allows less for arguments and
	// environment: three quarters of 8 MiB, pointers included.
	maxImage = 16 << 20
	// ownSteps is the number of steps besides those that depend on the command.
	ownSteps = 26
	// telling is the descriptor of the child that the execution of the program closes.
	telling = 3
)

// anyErrno lets a step fail with any errno.
const anyErrno = ^uint64(0)

// missing has the errnos after which a program may still be in the next directory.
const missing = 1<<unix.ENOENT | 1<<unix.ENOTDIR | 1<<unix.EACCES | 1<<unix.ENODEV | 1<<unix.ELOOP | 1<<unix.ENAMETOOLONG

// forkWay is the system call that forks.
type forkWay uint8

const (
	byClone3 forkWay = iota // needs Linux 5.7
	byClone                 // needs Linux 5.2; the child resets signal handlers itself, and has no own cgroup
	byFork                  // without a pidfd, which is opened afterwards
)

// spawner starts the children of a loop.
type spawner struct {
	env    []string // of SetEnv
	images [][]byte
	// leftOut is the number of ranges left out when the images were last made ones for children.
	leftOut int
	chunks  [][]report
	free    []*report
	way     forkWay
	shares  bool // see Share
}

// SetEnv sets the environment of commands without one of their own, which is empty until then. It
// keeps env. The error is an *Error with EINVAL if an entry has a NUL.
func (l *Loop) SetEnv(env []string) error {
	l.spawner.env = env
	for _, entry := range env {
		for i := range len(entry) {
			if entry[i] == 0 {
				return wrap("setenv", "", unix.EINVAL)
			}
		}
	}
	return nil
}

// takeReport returns an empty report.
func (s *spawner) takeReport() (*report, error) {
	if len(s.free) == 0 {
		chunk, err := sharedReports()
		if err != nil {
			return nil, err
		}
		s.chunks = append(s.chunks, chunk)
		for i := range chunk {
			s.free = append(s.free, &chunk[i])
		}
	}
	r := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	*r = report{}
	return r, nil
}

// close unmaps everything, unless a child still uses it.
func (s *spawner) close() {
	if !slices.ContainsFunc(s.images, lent) {
		for _, chunk := range s.chunks {
			unmapReports(chunk)
		}
		for _, b := range s.images {
			unix.Munmap(b)
		}
	}
	*s = spawner{env: s.env, shares: s.shares}
}

// start forks the child. tell becomes its descriptor telling; 0 for none.
func (s *spawner) start(cmd *Command, r *report, tell int) (pid, pidfd int, err error) {
	files := cmd.Files
	for i, fd := range files {
		if fd >= 0 && fd < i { // it would be replaced before it is duplicated
			if files[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, telling+1); err != nil {
				return 0, -1, err
			}
			defer unix.Close(files[i])
		}
	}
	self := 0
	if c := cmd.Confinement; c != nil && c.Joined&unix.CLONE_NEWPID != 0 {
		if self, err = unix.PidfdOpen(unix.Getpid(), 0); err != nil {
			return 0, -1, &Error{OpNamespace, "process", err.(unix.Errno)}
		}
		defer unix.Close(self)
	}
	way := s.way
	for {
		m, err := s.compose(cmd, files, tell)
		if err != nil {
			return 0, -1, err
		}
		shares := s.mayShare(cmd) && len(m.b) == imageSize
		pid, pidfd, err = m.fork(r, cmd, self, s.way, shares)
		if cmd.Wipe {
			clear(m.b) // the child has a copy
		}
		if len(m.b) != imageSize {
			unix.Munmap(m.b)
		}
		// Some filters answer EPERM to a call that they do not know. With a cgroup the
		// EPERM may be about that.
		unable := err == unix.ENOSYS || err == unix.EINVAL || err == unix.EPERM && cmd.Cgroup == 0
		if cmd.Confinement.refused(err) && (!unable || s.way == byFork || cmd.Cgroup != 0) {
			s.way = way // the errno may be about the namespace
			return 0, -1, &Error{OpNamespace, "process", err.(unix.Errno)}
		}
		if !unable || s.way == byFork {
			return pid, pidfd, err
		}
		s.way++
		if cmd.Cgroup != 0 {
			return 0, -1, err // the caller may do without
		}
	}
}

// compose builds the image of a child.
func (s *spawner) compose(cmd *Command, files [3]int, tell int) (m image, err error) {
	env := cmd.Env
	if env == nil {
		env = s.env
	}
	programs := 1
	if cmd.searches() {
		for i := range len(cmd.Search) {
			if cmd.Search[i] == ':' {
				programs++
			}
		}
	}
	steps := ownSteps + len(cmd.Limits) + programs
	if s.way != byClone3 {
		steps += maxSignals
	}
	size := imageHead(steps) + len(cmd.Dir) + len(cmd.Search) + programs*(len(cmd.Path)+3) + len(cmd.OOMScore) + 16*len(cmd.Limits) + 288
	for _, list := range [...][]string{cmd.Args, env} {
		size += 16
		for _, entry := range list {
			size += len(entry) + 9
		}
	}
	if cmd.User != nil {
		size += 4 * len(cmd.User.Groups)
	}
	if cmd.Confinement != nil {
		more, bytes := cmd.Confinement.size()
		steps += more
		size += bytes + imageHead(more)
	}
	if size > maxImage {
		return m, unix.E2BIG
	}
	var b []byte
	if size > imageSize {
		b, err = mapImage((size + imageSize) &^ 4095)
	} else {
		b, err = s.takeImage()
	}
	if err != nil {
		return m, err
	}
	m = newImage(b, steps)
	s.describe(&m, cmd, files, tell, env)
	if cmd.Wipe {
		ClearRegisters() // before the signals that come with the fork
	}
	if m.bad {
		if len(b) != imageSize {
			unix.Munmap(b)
		}
		return m, unix.EINVAL
	}
	return m, nil
}

// searches reports whether the program is looked up in the Search list.
func (cmd *Command) searches() bool {
	for i := range len(cmd.Path) {
		if cmd.Path[i] == '/' {
			return false
		}
	}
	return cmd.Search != "" && cmd.Path != ""
}

// ClearRegisters overwrites the vector registers, with which memory is copied. The kernel writes
// them to the stack of a signal's handler, where a part of a secret would stay.
func ClearRegisters() {
	var blanks [512]byte
	clearRegisters(blanks[:])
}

//go:noinline
func clearRegisters(b []byte) {
	half := len(b) / 2
	copy(b[:half], b[half:]) // 256 bytes: all of the 16 registers
}

// describe writes the steps of a child. The steps that a process in the guest can delay come after
// the descriptors of this process are closed.
func (s *spawner) describe(m *image, cmd *Command, files [3]int, tell int, env []string) {
	if cmd.OOMScore != "" {
		m.write(stageLimits, m.text("/proc/self/oom_score_adj"), cmd.OOMScore)
	}
	c := cmd.Confinement
	if c != nil {
		c.enter(m)
	}
	if cmd.Terminal {
		m.then(stageFork, 0, unix.SYS_SETSID)
	} else {
		m.then(stageFork, 0, unix.SYS_SETPGID)
	}
	for i, fd := range files {
		switch {
		case fd < 0:
			m.then(stageFork, anyErrno, unix.SYS_CLOSE, uintptr(i))
		case fd != i:
			m.then(stageFork, 0, unix.SYS_DUP3, uintptr(fd), uintptr(i), 0)
		}
	}
	first := uintptr(telling)
	if tell != 0 {
		if tell != telling {
			m.then(stageFork, 0, unix.SYS_DUP3, uintptr(tell), telling, unix.O_CLOEXEC)
		}
		first++
	}
	// Without this, close-on-exec descriptors would stay open until the execution. Linux 5.9
	// has the call.
	m.then(stageFork, anyErrno, unix.SYS_CLOSE_RANGE, first, 1<<32-1, 0)
	if s.way != byClone3 {
		act := m.numbers(0, 0, 0, 0) // SIG_DFL
		for sig := uintptr(1); sig <= maxSignals; sig++ {
			m.then(stageFork, anyErrno, unix.SYS_RT_SIGACTION, sig, act, 0, 8)
		}
	}
	if cmd.Terminal {
		m.then(stageTerminal, 0, unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 1)
	}
	if c != nil {
		c.isolate(m)
	}
	if limit := limitForChild(); limit != nil {
		m.then(stageLimits, 0, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, m.numbers(limit.Cur, limit.Max), 0)
	}
	for _, l := range cmd.Limits {
		m.then(stageLimits, 0, unix.SYS_PRLIMIT64, 0, uintptr(l.Resource), m.numbers(l.Soft, l.Hard), 0)
	}
	if cmd.Umask != nil {
		m.then(stageFork, 0, unix.SYS_UMASK, uintptr(*cmd.Umask))
	}
	if c != nil {
		c.restrict(m, cmd.User)
	}
	if u := cmd.User; u != nil {
		m.then(stageUser, 0, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
		m.then(stageUser, 0, unix.SYS_SETGROUPS, uintptr(len(u.Groups)), m.halves(u.Groups))
		m.then(stageUser, 0, unix.SYS_SETGID, uintptr(u.GID))
		m.then(stageUser, 0, unix.SYS_SETUID, uintptr(u.UID))
		// Process 1 has no session keyring. Another process has that of its login or
		// service.
		if unix.Getpid() != 1 {
			m.then(stageUser, anyErrno, unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0)
		}
	}
	if c != nil {
		c.setCapabilities(m)
	}
	if cmd.Dir != "" {
		m.then(stageDirectory, 0, unix.SYS_CHDIR, m.text(cmd.Dir))
	}
	m.then(stageFork, 0, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, m.numbers(0), 0, 8)
	if c != nil {
		c.seal(m)
	}
	argv, envv := m.vector(cmd.Args), m.vector(env)
	search := cmd.Search
	if !cmd.searches() {
		m.then(stageExec, 0, unix.SYS_EXECVE, m.text(cmd.Path), argv, envv)
		return
	}
	for from, i := 0, 0; i <= len(search); i++ {
		if i < len(search) && search[i] != ':' {
			continue
		}
		dir, pass := search[from:i], uint64(missing)
		if from = i + 1; i == len(search) {
			pass = 0
		}
		if dir == "" {
			dir = "." // exec(3)
		}
		m.then(stageExec, pass, unix.SYS_EXECVE, m.text(dir, "/", cmd.Path), argv, envv)
	}
}

// maxSignals is the highest signal there is.
const maxSignals = 64

// failure returns the error that a report describes, or nil.
func (r *report) failure(c *Child) error {
	if r.errno == 0 {
		return nil
	}
	errno := unix.Errno(r.errno)
	stage, change := r.stage&0xFF, int(r.stage>>8)
	e := &Error{stageOps[stage], "process", errno}
	switch stage {
	case stageDirectory:
		if errno == unix.ENOENT { // any other errno may be about a directory above
			e.Object = c.dir
		}
	case stageMount:
		if change > 0 {
			e.Object = c.confinement.Changes[change-1].Target
		}
	case stageRoot:
		e.Object = c.confinement.Root
		if e.Object == "" {
			e.Object = "/"
		}
	case stageExec:
		e.Object = c.path
		if c.searched && errno < 64 && missing>>errno&1 != 0 {
			e.Errno = unix.ENOENT // the errno is that of the last directory alone
		}
	}
	return e
}
