package agent

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/command"
	"wick/reactor/agent/internal/configure"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/forward"
	"wick/reactor/agent/internal/initctl"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/network"
	"wick/reactor/agent/internal/session"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// PathError is a Unix socket path that cannot be used.
type PathError = link.PathError

// Config configures an agent. The zero Config has no way to a host.
type Config struct {
	// UnixSocket is a socket path. The agent connects if a host listens there, and else listens
	// itself. Empty for none.
	UnixSocket string
	// DialCID and DialPort are the vsock address that the agent connects to. Port 0 for none.
	DialCID, DialPort uint32
	// ListenPort is the vsock port on which the agent listens. 0 for none.
	ListenPort uint32
	// Log is the log of the agent. The caller keeps its descriptor open until Run returns.
	Log *Log
	// Signals gives the agent the signals of the process. TERM and INT end it. HUP, USR1, USR2,
	// QUIT and WINCH go to the running commands. It reaps orphans as process 1 and as a child
	// subreaper.
	Signals bool
	// Init makes the agent process 1 of its machine. It reaps orphans. These signals shut the
	// machine down: TERM, INT, PWR, and those for poweroff, halt and reboot (USR2, USR1; RTMIN+4,
	// +3, +5). Run returns when nothing is left to do but to switch the machine off.
	Init bool
	// Env is the environment that commands inherit, and in which PATH and TMPDIR are looked up. nil
	// means the environment of this process. The agent keeps the slice.
	Env []string
	// LastWords makes an agent that only reports a failed boot. It sends each host this text in an
	// error frame. Run returns once a host has read it, or after five seconds without one.
	LastWords string
	// Limits bounds what hosts and commands can make grow. The zero Limits has the defaults.
	Limits Limits
	// JobCommand is the program that does slow disk work, with its first arguments: JobCommand of
	// this package. The agent adds two arguments. If it is empty, the agent syncs by itself and
	// serves no host meanwhile.
	JobCommand []string
	// Version is the version of the program, for hosts that ask.
	Version string
	// Facts are names and values that a host gets besides the agent's own.
	Facts [][2]string
	// Network lists the words of the network's configuration, as --net=eth0,addr=10.0.2.15/24.
	// Without any, an agent with Init takes the kernel's ip=.
	Network []string
	// FreezeFD is a directory of the file system that a host may freeze; 0 for none. It needs a
	// JobCommand. The caller owns it, and keeps it open until Run returns.
	FreezeFD int
	// Settle is called by an agent with Init when no other process is left; nil for none. It
	// prepares the disks for power-off, within bounded time, and returns what failed.
	Settle func() error

	// Configure sets the options in a text of a host's, and reports each line that is wrong. It
	// returns the configuration that then holds. The agent takes from that what can change while it
	// runs, and the facts. nil: a host cannot configure the agent.
	Configure func(text []byte, wrong func(line int, reason string)) Config

	notice       machine.Notice
	openServices func(*Agent) services // for an agent with Init, or nil
	hardware     func(*Agent) hardware // nil for none
	defaults     launch.Defaults
	forgets      bool // the secrets, after a restore
}

// generationPath has the epoch of a machine, for its programs.
const generationPath = "/run/wick/generation"

// Agent serves hosts. All its methods belong to the goroutine that calls Run.
type Agent struct {
	cfg     Config
	loop    *reactor.Loop
	log     *Log
	garbage sys.Garbage
	env     launch.Env // what commands inherit
	disk    files.Disk
	null    int  // the stdin of commands, or -1
	root    bool // the agent runs as root

	contain  *contain.Pool
	table    *launch.Table
	server   *wire.Server
	commands *command.Service
	sessions *session.Service
	files    *files.Service
	network  *network.Service
	machine  *machine.Service
	forward  *forward.Service
	services services
	hardware hardware
	secrets  *configure.Service
	jobs     *launch.Jobs
	links    []link.Link // the ways to hosts
	initctl  initctl.FIFO

	startTimer reactor.Timer // until the rest of the start
	protected  bool          // from commands
	notPinned  string        // why the code is not pinned, or empty

	down       downStep
	phaseTimer reactor.Timer // ends the current downStep
	grace      time.Duration // between SIGTERM and SIGKILL, with Init
	killAt     time.Duration // reactor.Now at which processes that got a signal are killed
	power      powerRequest
	cause      string // of the shutdown
}

// New returns an agent that is ready to Run. The error is a *PathError if a Unix socket path cannot
// be used. The agent owns descriptors, which Run releases.
func New(cfg Config) (*Agent, error) {
	if cfg.Init && unix.Getpid() != 1 {
		return nil, errors.New("not process 1") // its shutdown would kill every other process
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
	a.env.Defaults = cfg.defaults
	a.disk.Spools = [...]string{a.env.Lookup("TMPDIR"), "/tmp", "/var/tmp"}
	if err := a.open(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// open acquires the descriptors and starts everything. After an error the caller closes the agent.
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
	if a.cfg.LastWords == "" {
		a.network.Boot(a.cfg.Network, a.cfg.Init) // before a host is served
	}
	if err := a.openLinks(); err != nil {
		return err
	}
	if a.cfg.LastWords != "" {
		// It runs no commands, so it needs no protection from them.
		a.loop.Start(&a.phaseTimer, lastWordsGrace, (*downTimer)(a))
		return nil
	}
	if a.cfg.Init {
		a.protect() // because services start in the first turn
		if err := a.initctl.Open(a.loop, a.log, a.runLevel); err != nil {
			a.log.Warn("initctl unavailable", "error", err.Error())
		}
	}
	a.server.OnFirst(a.protect)
	a.loop.Start(&a.startTimer, startDelay, (*startTimer)(a))
	return nil
}

// protect protects the agent from commands, unless it did already.
func (a *Agent) protect() {
	if !a.protected {
		a.protected = true
		a.contain.Open(a.cfg.Limits.Pids)
	}
}

// startDelay is long enough to greet a host that waits. Protecting the agent and pinning its code
// take as long as half the rest of the start.
const startDelay = time.Millisecond

// startTimer is an agent as the handler of its startTimer.
type startTimer Agent

// Expired implements [reactor.TimerHandler]. The code is pinned after the start, because code that
// only runs before need not stay in memory.
func (t *startTimer) Expired(*reactor.Timer) {
	a := (*Agent)(t)
	a.protect()
	if !a.cfg.Signals {
		return // the process is not the agent's alone
	}
	if err := sys.PinCode(a.loop.Scratch(), reactor.LeaveOut); err != nil {
		a.notPinned = err.Error()
		a.log.Info("code not pinned", "error", a.notPinned)
	}
}

// facts returns the facts about the agent itself.
func (a *Agent) facts() [][2]string {
	facts := [][2]string{{"agent", a.cfg.Version}, {"pid", sys.Num(unix.Getpid())}}
	for _, o := range limitOptions {
		name := "limit." + o.name[len("--max-"):]
		facts = append(facts, [2]string{name, sys.Num(*o.field(&a.cfg.Limits))})
	}
	return append(facts, a.cfg.Facts...)
}

// addFacts adds the facts of the rooms.
func (a *Agent) addFacts(f *framing.Facts) {
	a.network.AddFacts(f)
	a.services.AddFacts(f)
	if a.secrets != nil {
		a.secrets.AddFacts(f)
	}
	if a.notPinned != "" {
		f.Add("degraded.pinned", a.notPinned)
	}
}

// addFigures adds what the agent has in use.
func (a *Agent) addFigures(f *framing.Figures) {
	conns, _ := a.server.Count()
	f.Add("agent.connections", uint64(conns))
	f.Add("agent.commands", uint64(len(a.table.Running())))
	f.Add("agent.kept", uint64(a.sessions.CountKept()))
	f.Add("agent.spooled", uint64(a.commands.Spooled()))
	a.hardware.AddFigures(f)
}

// openLinks opens the links that the configuration names.
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

// linkHost is the agent as a [link.Host].
type linkHost Agent

// Accept implements [link.Host].
func (h *linkHost) Accept(fd int, peer string, by link.Link) (id uint32, open bool) {
	c := h.server.Accept(fd, by, peer)
	if c == nil {
		return 0, false
	}
	return c.ID(), !c.Closed()
}

// Run serves hosts until a signal, a host or Stop ends the agent. Then it releases everything that
// the agent holds. Commands run on, unless the machine ends too.
func (a *Agent) Run() error {
	defer a.close()
	err := a.loop.Run()
	if err == nil {
		err = a.killSessions()
	}
	return err
}

// killSessions kills the processes of start requests, because no host can ask for them any more. It
// waits for their exit, but not longer than killedGrace.
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

// closeHosts closes all connections and links.
func (a *Agent) closeHosts() {
	links := a.links
	a.links = nil
	for _, l := range links {
		l.Close()
	}
	a.server.Close()
}

// Stop makes Run return. Call it on the goroutine of Run.
func (a *Agent) Stop() { a.loop.Stop() }

// close releases everything that the agent holds, in whatever state it is.
func (a *Agent) close() {
	reactor.LeaveIn() // the caller may fork
	if a.machine != nil {
		a.closeHosts()
		a.drop()
		a.machine.Close()
		a.sessions.Drop()
		a.table.Release()
	}
	a.forgetSecrets()
	if a.services != nil {
		a.services.Close()
	}
	if a.hardware != nil {
		a.hardware.Close()
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
	if a.forward != nil {
		a.forward.Close()
	}
}

// openNull opens the stdin of commands: /dev/null, or a pipe at its end in an image without that
// file.
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
