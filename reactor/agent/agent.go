package agent

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/sys"
)

// PathError is a path that cannot be the place of a socket.
type PathError = link.PathError

// Config says how an agent is reached and what it is to its process. The zero Config is reached by nobody.
type Config struct {
	// UnixSocket is a path where agent and host meet: the agent connects if a host listens there, and listens
	// itself otherwise. Empty for none.
	UnixSocket string
	// DialCID and DialPort are the vsock address that the agent connects to. Port 0 for none.
	DialCID, DialPort uint32
	// ListenPort is the vsock port where the agent listens for the host. 0 for none.
	ListenPort uint32
	// Log is where the agent logs to.
	Log *Log
	// Signals lets the agent have the signals of the process: TERM and INT end it, and HUP, USR1,
	// USR2, QUIT and WINCH go to the commands that run. It reaps orphans if the kernel gives it
	// any: as process 1 and as a child subreaper.
	Signals bool
	// Init makes the agent process 1 of its machine: it reaps orphans, and TERM, INT, PWR, and the
	// signals of poweroff, halt and reboot (USR2, USR1; RTMIN+4, +3, +5) begin the way down, at the
	// end of which Run returns.
	Init bool
	// Env is what commands inherit, and where PATH and TMPDIR are looked up. nil for this process's own.
	Env []string
	// LastWords makes an agent that serves nobody: a host that connects, or is reached, is told this in an error frame, and Run returns then,
	// or when no host came within five seconds.
	LastWords string
	// Limits bounds what hosts and commands can make grow.
	Limits Limits
	// JobCommand is a program and its first arguments, to which two are added, that does what may take long and exits with its errno: JobCommand
	// of this package. Empty to sync in this process, which stops the agent for as long as that takes.
	JobCommand []string
	// Version is the program's, for a host that asks.
	Version string
	// Facts are names and values that a host is told of, beside the agent's own.
	Facts [][2]string
	// FreezeFD is a directory of the file system that a host can have frozen, 0 for none; it takes a JobCommand. It stays the caller's, and must
	// be open until Run has returned.
	FreezeFD int
	// Settle, if not nil, is called by an agent with Init when no other process is left: it brings the disks into the state to be switched
	// off in, within bounded time, and says what was not.
	Settle func() error
}

// Agent serves hosts. It lives on one goroutine, the one that calls Run.
type Agent struct {
	cfg      Config
	loop     *reactor.Loop
	log      *Log
	spooled  int64         // bytes of output on disk
	captures *reactor.Pool // the first output of commands
	holds    *reactor.Pool // what waits for processes, and for hosts that are away
	inputs   int           // buffers of it that are for processes; the others are for hosts
	env      launch.Env    // what commands inherit
	disk     files.Disk
	null     int // their stdin
	root     bool
	contain  *contain.Pool

	conns    []*conn    // in the order of their opening
	connID   uint32     // of the newest
	full     bool       // one more was told that there are too many
	running  []*process // in the order of their start
	commands []*command // those that run, or whose result is not decided
	sessions []*session // those that a host may ask for
	garbage  sys.Garbage
	exits    []*result // process_exits without a connection
	commits  []*upload // whole, and being put in place
	syncs    syncer
	fsyncs   fileSyncer
	spare    *upload // for the next write_file

	links    []link.Link // the ways to the host
	down     downStep
	downTime reactor.Timer // of the next step down
	killAt   time.Duration // reactor.Now, when processes that were asked to end are killed
	power    powerRequest
	restores restores
	freezer  freezer
	initctl  initctl
	watched  int    // pressures
	unpinned string // why the program's code is not pinned
}

// New makes an agent that is ready to Run. The error of a Unix socket path that cannot be used is a *PathError.
func New(cfg Config) (*Agent, error) {
	if cfg.Init && unix.Getpid() != 1 {
		return nil, errors.New("not process 1") // its way down would be the end of every other process
	}
	if cfg.LastWords != "" {
		cfg.Limits = lastWordsLimits
	}
	cfg.Limits.complete()
	loop, err := reactor.New(buffersPerConn * int(cfg.Limits.Conns))
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, loop: loop, log: cfg.Log, null: -1, root: unix.Geteuid() == 0}
	a.contain = contain.New(loop, a.log, &a.garbage, a.boxes)
	env := cfg.Env
	if env == nil {
		env = syscall.Environ()
	}
	a.env = launch.NewEnv(env, &a.garbage)
	a.disk = files.Disk{Spools: [...]string{a.env.Lookup("TMPDIR"), "/tmp", "/var/tmp"}, Frozen: a.isFrozen}
	if err := a.open(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *Agent) open() (err error) {
	a.log.Separate()
	if err := a.loop.SetEnv(a.env.Entries()); err != nil {
		return err
	}
	if a.cfg.Signals {
		if err := a.takeSignals(); err != nil {
			return err
		}
	}
	captures := captureBuffers
	if a.cfg.LastWords != "" {
		captures = 1
	}
	if a.captures, err = reactor.NewPool(captures); err != nil {
		return err
	}
	// The outputs of commands come and go, and a page of each is soon there again.
	a.captures.Warm = 0
	if a.holds, err = reactor.NewPool(holdBuffers*int(a.cfg.Limits.Kept) + int(a.cfg.Limits.Commands)); err != nil {
		return err
	}
	if a.null, err = openNull(); err != nil {
		return err
	}
	if err := a.openLinks(); err != nil {
		return err
	}
	if a.cfg.LastWords != "" {
		// It runs no commands, so there is nothing to be protected from.
		a.loop.Start(&a.downTime, lastWordsGrace, (*downTimer)(a))
		return nil
	}
	a.contain.Open(a.cfg.Limits.Pids)
	if a.cfg.Init {
		if err := a.initctl.open(a); err != nil {
			a.log.Warn("tools cannot end the machine by initctl", "error", err.Error())
		}
	}
	if a.cfg.Signals { // the process is the agent's alone
		// Last: what comes before it need not stay in memory.
		if err := sys.PinCode(a.loop.Scratch(), reactor.LeaveOut); err != nil {
			a.unpinned = err.Error()
			a.log.Info("code not pinned", "error", a.unpinned)
		}
	}
	return nil
}

// openLinks opens the ways that the configuration asks for.
func (a *Agent) openLinks() error {
	cfg, host := &a.cfg, (*linkHost)(a)
	if cfg.DialPort != 0 {
		a.links = append(a.links, link.NewDial(host, a.loop, a.log, cfg.DialCID, cfg.DialPort))
	}
	if cfg.ListenPort != 0 {
		a.links = append(a.links, link.NewListen(host, a.loop, a.log, cfg.ListenPort))
	}
	if cfg.UnixSocket != "" {
		a.links = append(a.links, link.NewPath(host, a.loop, a.log, cfg.UnixSocket))
	}
	for _, l := range a.links {
		if err := l.Open(); err != nil {
			return err
		}
	}
	return nil
}

// Run serves until the agent is told to stop, by a signal or by Stop, and releases everything. What is running is left
// to run, unless this is the end of the machine.
func (a *Agent) Run() error {
	defer a.close()
	err := a.loop.Run()
	if err == nil {
		err = a.endSessions()
	}
	return err
}

// endSessions kills what was started and still runs, for nobody can ask for it any more, and waits until it is gone.
func (a *Agent) endSessions() error {
	a.closeHosts()
	for len(a.sessions) > 0 {
		a.sessions[0].forget()
	}
	if a.cfg.Init || !a.sessionsRun() {
		return nil // an init has killed everything
	}
	a.down = downLast
	a.loop.Start(&a.downTime, killedGrace, (*downTimer)(a))
	return a.loop.Run()
}

// boxes calls f with the cgroup of each running process; nil if it has none.
func (a *Agent) boxes(f func(*contain.Box)) {
	for _, p := range a.running {
		f(p.cgroup)
	}
}

// sessionsRun reports whether any process that was started has not exited.
func (a *Agent) sessionsRun() bool {
	for _, p := range a.running {
		if p.kind == framing.KindStart {
			return true
		}
	}
	return false
}

// closeHosts is the end of all connections, and of the ways to them.
func (a *Agent) closeHosts() {
	links := a.links
	a.links = nil
	for _, l := range links {
		l.Close()
	}
	for len(a.conns) > 0 {
		a.conns[0].close()
	}
}

// Stop ends Run. Like all else it is for the agent's goroutine.
func (a *Agent) Stop() { a.loop.Stop() }

// close releases everything that the agent holds, whatever it is in the middle of.
func (a *Agent) close() {
	reactor.LeaveIn() // the caller may fork
	a.closeHosts()
	a.letGo()
	for len(a.sessions) > 0 {
		a.sessions[0].forget()
	}
	for len(a.running) > 0 {
		a.running[0].leave()
	}
	a.initctl.Close()
	a.contain.Close()
	a.loop.Close()
	if a.null >= 0 {
		unix.Close(a.null)
	}
	if a.captures != nil {
		a.captures.Close()
	}
	if a.holds != nil {
		a.holds.Close()
	}
}

// openNull is what commands read as stdin: /dev/null, or in an image without one a pipe at its end.
func openNull() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		return fd, nil
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, sys.NewError("pipe", "stdin", err)
	}
	unix.Close(p[1])
	return p[0], nil
}

// remove takes what out of a list, in which it is at most once, and keeps the order of the others.
//
//go:noinline
func remove[T comparable](list []T, what T) []T {
	for i, other := range list {
		if other == what {
			n := i + copy(list[i:], list[i+1:])
			clear(list[n:])
			return list[:n]
		}
	}
	return list
}

// linkHost is the agent as its links see it.
type linkHost Agent

// Accept implements [link.Host].
func (h *linkHost) Accept(fd int, peer string, by link.Link) (id uint32, open bool) {
	c := (*Agent)(h).accept(fd, by, peer)
	if c == nil {
		return 0, false
	}
	return c.id, c.state != connClosed
}

// accept begins to serve a connected socket, which the agent owns from now on.
func (a *Agent) accept(fd int, by link.Link, peer string) *conn {
	a.garbage.Collect(connGarbage)
	if len(a.conns) >= int(a.cfg.Limits.Conns) && !a.makeRoom() {
		if !a.full {
			a.full = true // hosts that wait for a free one try again and again
			a.log.Warn("too many connections", "peer", peer, "limit", sys.Num(a.cfg.Limits.Conns))
		}
		// Nothing was written yet, so there is room for it.
		words := framing.AppendFrame(nil, framing.TypeReady, 0, nil)
		unix.Write(fd, framing.AppendError(words, 0, "too many connections (limit "+sys.Num(a.cfg.Limits.Conns)+")"))
		unix.Close(fd)
		return nil
	}
	a.full = false
	a.connID++
	c := &conn{agent: a, link: by, id: a.connID}
	if c.vsock() {
		a.restores.opened(a)
	}
	a.conns = append(a.conns, c)
	c.open(fd, peer)
	return c
}

// makeRoom closes the oldest connection that has never said anything, and reports whether there was
// one: connections that are merely held must not keep a host out. One that has just come is given
// time, and one that the agent itself has made stays, because it would be made again.
func (a *Agent) makeRoom() bool {
	for _, c := range a.conns {
		if reactor.Now()-c.opened < silentGrace {
			break // those behind it are newer
		}
		dialed := c.link.Vsock() && c.link.Dialed(c.id)
		if !dialed && !c.useful && c.due == 0 {
			a.log.Warn("connection closed to make room, it never said anything", "conn", sys.Num(c.id))
			c.close()
			return true
		}
	}
	return false
}
