package contain

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Pool holds a cgroup for each running command. A cgroup is killed as a whole, whatever process
// groups and sessions its processes moved to and however fast they fork, and limits how many there
// are. It takes a writable cgroup2 file system (cgroups(7)). Without one the processes of a command
// are known by its process group and by /proc.
//
// Cgroups are kept and used again, because making one costs more than starting a command.
type Pool struct {
	path    string // of the directory that they are in; empty where there is none
	maxPids string // for each, or empty if they are not counted
	memory  bool   // the memory of all is limited, and that of each is known
	total   uint64 // totalMemory when that limit was computed
	limit   uint64 // in bytes
	used    uint64 // bytes that they had then
	files   uint64 // bytes of these that were page cache
	busy    int    // those that a process has
	idle    []*Box
	left    []*Box // the command is gone, processes that it left running are not
	made    int
	strikes int  // failures since the last success
	warned  bool // that commands run without, since one last had a cgroup
	lock    int  // descriptor of the directory, locked: see claim
	// Missing says what protection there is not, and why.
	Missing Missing

	oom     oomScore
	reserve reserve
	stalls  stalls
	blocks  memoryEvents

	loop    *reactor.Loop
	log     *log.Log
	garbage *sys.Garbage
	// boxes calls a function with the cgroup of each running command, or with nil.
	boxes  func(func(*Box))
	shrink reactor.Timer        // until idle cgroups are removed
	unseen int                  // of those in left, that the timer has still to look at
	buf    [sys.KernelFile]byte // for reading
}

// commandsWeight is the cpu.weight of all commands together. The agent has 100, and so has each
// kernel thread that works for it: those of the vsock device, and those that free the memory of
// killed processes. They get their turns however many commands there are, and commands get what they
// leave. At 100 the result of a fork bomb came 0.6 to 2.3 s after its timeout, in an emulated machine
// beside others, and at 25 it came after 0.1 to 0.4 s.
const commandsWeight = "25"

const (
	// MaxIdle is the most cgroups kept for later commands. As many more as are in use are kept
	// until shrinkAfter has passed. 256 idle ones would be 12 MB of the kernel's memory.
	MaxIdle     = 8
	shrinkAfter = 2 * time.Second
	// shrinkBatch is the most that are removed in a turn.
	shrinkBatch = 8
	// reclaimBatch is the most cgroups that one command looks at to find an empty one. If it needs none it looks at one, so that none stays for
	// long whose processes have ended.
	reclaimBatch = 8
)

// Missing says why a protection is missing; empty if it is there.
type Missing struct {
	Cgroup string // no cgroup for each command
	Pids   string // no limit on its processes
	Memory string // no limit on the memory of all commands
	PSI    string // no word from the kernel when they stall
	OOM    string // the OOM killer may choose the agent
}

// New returns a pool that contains nothing until Open. boxes calls a function with the
// cgroup of each running command; those that are nil are ignored.
func New(loop *reactor.Loop, log *log.Log, garbage *sys.Garbage, boxes func(func(*Box))) *Pool {
	return &Pool{loop: loop, log: log, garbage: garbage, boxes: boxes, oom: oomScore{fd: -1}}
}

// Open protects the agent from commands, as far as the machine can, and logs what is missing. A
// command may have as many as maxPids processes.
func (t *Pool) Open(maxPids uint32) {
	t.reserve.fill()
	t.oom.lower(t)
	t.openCgroups(maxPids)
	t.stalls.open(t)
	t.blocks.open(t)
}

// Close removes every cgroup without processes, and gives up what protects the agent. Doing it again
// does nothing.
func (t *Pool) Close() {
	t.oom.close()
	t.reserve.open()
	t.stalls.close()
	t.blocks.Close()
	t.close()
}

// Contained reports whether commands run in cgroups.
func (t *Pool) Contained() bool { return t.path != "" }

// Busy returns how many cgroups belong to running commands, Idle how many wait for a command, and
// Left how many belong to processes that a command left behind.
func (t *Pool) Busy() int { return t.busy }

// Idle returns how many cgroups wait for a command: see Busy.
func (t *Pool) Idle() int { return len(t.idle) }

// Left returns how many cgroups only wait for the end of processes: see Busy.
func (t *Pool) Left() int { return len(t.left) }

// Next returns the directory of the cgroup that Take would return; empty if it would make one.
func (t *Pool) Next() string {
	if len(t.idle) == 0 {
		return ""
	}
	return t.idle[len(t.idle)-1].name
}

// Path returns the directory of the cgroups; empty if there are none.
func (t *Pool) Path() string { return t.path }

// Steady reports whether no start in a cgroup has failed since the last one that succeeded, and no
// timer runs to remove idle cgroups.
func (t *Pool) Steady() bool { return t.strikes == 0 && !t.shrink.Running() }

// openCgroups makes the directory, below the cgroup of the agent itself. It logs once how commands
// are contained, and once for each controller that is missing.
func (t *Pool) openCgroups(maxPids uint32) {
	log := t.log
	base, err := ownCgroup(t.buf[:])
	if err == nil {
		removeLeftOver(base, t.buf[:])
		err = t.claim(base)
	}
	if err != nil {
		t.Missing.Cgroup = err.Error()
		log.Info("commands are contained", "by", "process group and /proc", "processes", "unlimited", "reason", t.Missing.Cgroup)
		return
	}
	t.allow(base, "+cpu")
	sys.WriteFile(t.path+"/cpu.weight", commandsWeight)
	processes := "unlimited"
	if err := t.allow(base, "+pids"); err != nil {
		t.Missing.Pids = err.Error()
		log.Warn("processes of commands are not limited", "error", t.Missing.Pids)
	} else {
		t.maxPids = sys.Num(maxPids)
		processes = t.maxPids
	}
	if err := t.allow(base, "+memory"); err != nil {
		t.Missing.Memory = err.Error()
		log.Warn("memory of commands is not limited", "error", t.Missing.Memory)
	} else {
		t.memory, t.limit = true, math.MaxInt64
		t.computeLimit()
	}
	log.Info("commands are contained", "by", "cgroup", "processes", processes)
}

// allow has a controller work in the cgroups of commands. The kernel refuses where the agent's cgroup is not the root and has processes
// of its own: the agent.
func (t *Pool) allow(base, controller string) error {
	sys.WriteFile(base+"/cgroup.subtree_control", controller)
	return sys.WriteFile(t.path+"/cgroup.subtree_control", controller)
}

// ownCgroup is the directory of the cgroup that this process is in. A cgroup2 file system is mounted alone, or beside the first version.
func ownCgroup(buf []byte) (string, error) {
	for _, mount := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Stat_t
		if unix.Stat(mount+"/cgroup.controllers", &st) != nil { // which the first version does not have
			continue
		}
		n, err := sys.ReadFile("/proc/self/cgroup", buf)
		if err != nil {
			return "", err
		}
		for lines := string(buf[:n]); lines != ""; {
			var line string
			line, lines, _ = sys.Cut(lines, '\n')
			if len(line) > 3 && line[:3] == "0::" {
				if line == "0::/" {
					return mount, nil
				}
				return mount + line[3:], nil
			}
		}
	}
	return "", sys.NewError("stat", "cgroup2", unix.ENOENT)
}

// Take returns a cgroup without processes; nil if there are no cgroups, or none can be made. The
// caller returns it with Give.
func (t *Pool) Take() *Box {
	if t.path == "" {
		return nil
	}
	t.followMemory()
	if len(t.idle) == 0 {
		t.reclaim(reclaimBatch)
	} else {
		t.reclaim(1)
	}
	if n := len(t.idle); n > 0 {
		g := t.idle[n-1]
		t.idle = t.idle[:n-1]
		g.before = g.total(t.memory)
		t.busy++
		return g
	}
	g, err := t.make()
	if err != nil {
		if !t.warned {
			t.warned = true
			t.log.Warn("commands run without a cgroup of their own", "error", err.Error())
		}
		return nil
	}
	t.warned = false
	t.busy++
	return g
}

func (t *Pool) make() (*Box, error) {
	g := &Box{name: t.path + "/" + sys.Num(t.made), before: usage{known: true}}
	if err := unix.Mkdir(g.name, 0o755); err != nil {
		return nil, sys.NewError("mkdir", g.name, err)
	}
	t.made++
	var err error
	if g.dir, err = sys.OpenDir(g.name); err != nil {
		unix.Rmdir(g.name)
		return nil, err
	}
	if t.maxPids != "" {
		sys.WriteFile(g.name+"/pids.max", t.maxPids)
	}
	return g, nil
}

// Give takes a cgroup back from a command that has exited, if it had one. Processes that the command
// left behind keep running, and keep the cgroup until their end.
func (t *Pool) Give(g *Box) {
	if g != nil {
		t.busy--
		t.keep(g)
	}
}

// keep lets it wait for the end of its processes, or for a command.
func (t *Pool) keep(g *Box) {
	defer t.shrinkLater()
	switch {
	case g.populated():
		t.left = append(t.left, g)
	case t.path != "" && len(t.idle) < t.busy+MaxIdle && !g.spoiled:
		if t.memory {
			g.OutOfMemory() // unclaimed kills are not the next command's
		}
		t.idle = append(t.idle, g)
	default:
		g.remove()
	}
}

// reclaim looks at cgroups left to their processes, and keeps those that are empty by now for
// commands.
func (t *Pool) reclaim(most int) {
	n := min(len(t.left), most)
	oldest := t.left[:n:n]
	t.left = t.left[n:]
	for _, g := range oldest {
		t.keep(g)
	}
}

// shrinkLater starts the timer that removes idle cgroups, unless it is running.
func (t *Pool) shrinkLater() {
	if (len(t.idle) > MaxIdle || len(t.left) > 0) && !t.shrink.Running() {
		t.loop.Start(&t.shrink, shrinkAfter, t)
	}
}

// Expired implements [reactor.TimerHandler]: it removes idle cgroups, a batch a turn. A cgroup that
// still has processes is looked at once, and then again when a command starts: they may stay for ever,
// and a timer must not.
func (t *Pool) Expired(*reactor.Timer) {
	if t.unseen == 0 {
		t.unseen = len(t.left)
	}
	n := min(t.unseen, shrinkBatch)
	t.unseen -= n
	t.reclaim(n)
	for n = 0; n < shrinkBatch && len(t.idle) > MaxIdle; n++ {
		last := len(t.idle) - 1
		t.idle[last].remove()
		t.idle = t.idle[:last]
	}
	t.shrink.Stop()
	if t.unseen > 0 || len(t.idle) > MaxIdle {
		t.loop.Start(&t.shrink, 0, t)
	}
}

// close removes the cgroups that are empty, and makes no more. The others stay with their processes.
func (t *Pool) close() {
	for _, g := range append(t.idle, t.left...) {
		g.remove()
	}
	t.idle, t.left = nil, nil
	t.memory = false
	t.shrink.Stop()
	if t.path != "" {
		unix.Rmdir(t.path)
		unix.Close(t.lock)
		t.path = ""
	}
}

// MaxStrikes is how many commands in a row may fail to start in a cgroup before there are no more
// cgroups.
const MaxStrikes = 3

// Works is told that a command has started as it should, in a cgroup or without.
func (t *Pool) Works() { t.strikes = 0 }

// Blame is told that a command could not start in a cgroup, but could without. Another program may
// have removed the cgroup, and with it the idle ones, so they are removed and new ones made.
func (t *Pool) Blame(err error) {
	for _, g := range t.idle {
		g.remove()
	}
	t.idle = nil
	if t.strikes++; t.strikes == MaxStrikes {
		t.Fail(err)
		return
	}
	t.log.Warn("a command runs without a cgroup", "error", err.Error())
}

// Fail gives up on cgroups.
func (t *Pool) Fail(err error) {
	t.close()
	t.Missing.Cgroup = err.Error()
	t.log.Warn("commands are no longer contained by cgroup", "error", t.Missing.Cgroup)
}

// Kill kills all that a command has become: every process in its cgroup, or without one those that
// /proc shows to be its own. leader is the pid of its first process.
func (t *Pool) Kill(g *Box, leader int) {
	t.reserve.open()
	if g == nil || g.kill() != nil {
		killTree(leader)
	}
	t.reserve.fill()
}

// Signal sends a signal to all that a command has become: see Kill.
func (t *Pool) Signal(g *Box, leader int, sig unix.Signal) {
	if g != nil {
		g.each(func(pid int) { unix.Kill(pid, sig) })
		return
	}
	for _, p := range descendants(leader) {
		unix.Kill(p.pid, sig)
	}
}

// BeforeFork prepares for a fork: the kernel's OOM killer may choose a child. AfterFork follows it.
func (t *Pool) BeforeFork() { t.oom.forChild() }

// AfterFork protects the agent from the OOM killer again.
func (t *Pool) AfterFork() { t.oom.forSelf() }

// Adopt makes an open directory an idle cgroup. A test gives a directory that no process can be in.
func (t *Pool) Adopt(name string, dir int) {
	t.idle = append(t.idle, &Box{name: name, dir: dir})
}
