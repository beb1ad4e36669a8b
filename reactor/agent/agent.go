package agent

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/command"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
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
	cfg     Config
	loop    *reactor.Loop
	log     *Log
	garbage sys.Garbage
	env     launch.Env // what commands inherit
	disk    files.Disk
	null    int // their stdin
	root    bool

	contain  *contain.Pool
	table    *launch.Table
	server   *wire.Server
	commands *command.Service
	sessions *session.Service
	files    *files.Service
	machine  *machine.Service
	links    []link.Link // the ways to the host
	initctl  initctl

	down       downStep
	phaseTimer reactor.Timer // of the next step down
	killAt     time.Duration // reactor.Now, when processes that were asked to end are killed
	power      powerRequest
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
	loop, err := reactor.New(wire.BuffersPerConn * int(cfg.Limits.Conns))
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, loop: loop, log: cfg.Log, null: -1, root: unix.Geteuid() == 0}
	a.power.how = powerDefault
	env := cfg.Env
	if env == nil {
		env = syscall.Environ()
	}
	a.env = launch.NewEnv(env, &a.garbage)
	a.disk.Spools = [...]string{a.env.Lookup("TMPDIR"), "/tmp", "/var/tmp"}
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
		if err := a.openSignals(); err != nil {
			return err
		}
	}
	if a.null, err = openNull(); err != nil {
		return err
	}
	if err := a.openRooms(); err != nil {
		return err
	}
	if err := a.openLinks(); err != nil {
		return err
	}
	if a.cfg.LastWords != "" {
		// It runs no commands, so there is nothing to be protected from.
		a.loop.Start(&a.phaseTimer, lastWordsGrace, (*downTimer)(a))
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
			a.machine.Facts = append(a.machine.Facts, [2]string{"degraded.pinned", err.Error()})
			a.log.Info("code not pinned", "error", err.Error())
		}
	}
	return nil
}

// openRooms makes the rooms, each of which registers the types of the messages that it serves.
func (a *Agent) openRooms() (err error) {
	limits := &a.cfg.Limits
	a.contain = contain.New(a.loop, a.log, &a.garbage, func(f func(*contain.Box)) { a.table.EachBox(f) })
	a.table = launch.NewTable(a.loop, a.contain, limits.Commands, a.stepDown)
	a.server = wire.NewServer(wire.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage,
		Conns: limits.Conns, LastWords: a.cfg.LastWords, Changed: a.stepDown,
	})
	captures := captureBuffers
	if a.cfg.LastWords != "" {
		captures = 1
	}
	a.commands, err = command.NewService(command.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Table: a.table, Env: &a.env, Disk: &a.disk,
		Null: a.null, Root: a.root, Captures: captures,
		Exits: limits.Exits, Spool: limits.Spool, SpoolTotal: limits.SpoolTotal, Changed: a.stepDown,
	})
	if err != nil {
		return err
	}
	a.sessions, err = session.NewService(session.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Table: a.table, Env: &a.env,
		Null: a.null, Root: a.root, Kept: limits.Kept, Changed: a.stepDown,
	})
	if err != nil {
		return err
	}
	jobs := &launch.Jobs{Command: a.cfg.JobCommand, Loop: a.loop, Log: a.log}
	a.files = files.NewService(files.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Disk: &a.disk, Jobs: jobs,
		Root: a.root, SudoPath: a.env.SudoPath(), Null: a.null, Changed: a.stepDown,
	})
	features := session.Features | files.Features
	if a.cfg.Init {
		features |= framing.FeaturePower
	}
	a.machine = machine.NewService(machine.Config{
		Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Contain: a.contain, Jobs: jobs, Disk: &a.disk,
		Null: a.null, FreezeFD: a.cfg.FreezeFD, Features: features, Facts: a.facts(), AddFigures: a.addFigures,
	})
	a.server.Handle(framing.TypePower, a.powerDown)
	a.server.OnDetach(a.power.Forget)
	return nil
}

// facts returns what a host is told of the agent.
func (a *Agent) facts() [][2]string {
	facts := [][2]string{{"agent", a.cfg.Version}, {"pid", sys.Num(unix.Getpid())}}
	for _, o := range limitOptions {
		facts = append(facts, [2]string{"limit." + o.name[len("--max-"):], sys.Num(*o.field(&a.cfg.Limits))})
	}
	return append(facts, a.cfg.Facts...)
}

// addFigures adds what the agent has in use.
func (a *Agent) addFigures(f *framing.Figures) {
	conns, _ := a.server.Count()
	f.Add("agent.connections", uint64(conns))
	f.Add("agent.commands", uint64(len(a.table.Running())))
	f.Add("agent.kept", uint64(a.sessions.CountKept()))
	f.Add("agent.spooled", uint64(a.commands.Spooled()))
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

// linkHost is the agent as its links see it.
type linkHost Agent

// Accept implements [link.Host].
func (h *linkHost) Accept(fd int, peer string, by link.Link) (id uint32, open bool) {
	c := h.server.Accept(fd, by, peer)
	if c == nil {
		return 0, false
	}
	return c.ID(), !c.Closed()
}

// Run serves until the agent is told to stop, by a signal or by Stop, and releases everything. Commands are left
// to run, unless this is the end of the machine.
func (a *Agent) Run() error {
	defer a.close()
	err := a.loop.Run()
	if err == nil {
		err = a.killSessions()
	}
	return err
}

// endSessions kills what was started and still runs, because no host can ask for it any more, and waits until it is gone.
func (a *Agent) killSessions() error {
	a.closeHosts()
	a.sessions.Drop()
	if a.cfg.Init || !a.table.Runs(framing.KindStart) {
		return nil // an init has killed everything
	}
	a.down = downSessions
	a.loop.Start(&a.phaseTimer, killedGrace, (*downTimer)(a))
	return a.loop.Run()
}

// closeHosts is the end of all connections, and of the ways to them.
func (a *Agent) closeHosts() {
	links := a.links
	a.links = nil
	for _, l := range links {
		l.Close()
	}
	a.server.Close()
}

// Stop ends Run. Like all else it is for the agent's goroutine.
func (a *Agent) Stop() { a.loop.Stop() }

// close releases everything that the agent holds, whatever it is in the middle of.
func (a *Agent) close() {
	reactor.LeaveIn() // the caller may fork
	if a.machine != nil {
		a.closeHosts()
		a.drop()
		a.sessions.Drop()
		a.table.Release()
	}
	a.initctl.Close()
	if a.contain != nil {
		a.contain.Close()
	}
	a.loop.Close()
	if a.null >= 0 {
		unix.Close(a.null)
	}
	if a.commands != nil {
		a.commands.Close()
	}
	if a.sessions != nil {
		a.sessions.Close()
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
