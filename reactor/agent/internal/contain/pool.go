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
// groups and sessions its processes moved to and however fast they fork. It also limits their
// number. A pool needs a writable cgroup2 file system (cgroups(7)). Without one, a command's
// processes are found by its process group and in /proc.
//
// Cgroups are reused, because making one costs more than starting a command.
type Pool struct {
	path    string // the directory of the cgroups; empty without cgroups
	maxPids string // pids.max of each; empty if processes are not limited
	memory  bool   // memory is limited for all, and counted for each
	total   uint64 // totalMemory when the limit was computed
	limit   uint64 // in bytes
	used    uint64 // bytes in use when it was computed
	files   uint64 // bytes of page cache among them
	busy    int    // cgroups of running commands
	idle    []*Box
	left    []*Box // cgroups of processes that outlived their command
	made    int
	keepers int  // cgroups whose files stay open: see keepFiles
	strikes int  // failures since the last success
	warned  bool // it was logged that commands run without a cgroup, and none had one since
	lock    int  // descriptor of the directory, locked: see claim
	// Missing says which protections are missing, and why.
	Missing Missing

	oomScore string // of commands; empty if it is the agent's
	reserve  reserve
	stalls   stalls
	blocks   memoryEvents
	victims  victims
	io       counting

	loop    *reactor.Loop
	log     *log.Log
	garbage *sys.Garbage
	// boxes calls a function with the cgroup of each running command, or with nil.
	boxes  func(func(*Box))
	shrink reactor.Timer        // until idle cgroups are removed
	unseen int                  // how many in left the timer has still to look at
	buf    [sys.KernelFile]byte // for reading
}

// commandsWeight is the cpu.weight of all commands together. The agent has 100, and so has each
// kernel thread that works for it. Those serve the vsock device, and free the memory of killed
// processes. They get their turns however many commands there are, and commands get the rest. With
// 100, the result of a fork bomb came 0.6 to 2.3 s after its timeout, in an emulated machine beside
// others. With 25 it came after 0.1 to 0.4 s.
const commandsWeight = "25"

const (
	// MaxIdle is the most idle cgroups that are kept for ever. As many more as are in use are kept
	// until shrinkAfter has passed. 256 idle cgroups would take 12 MB of the kernel's memory.
	MaxIdle     = 8
	shrinkAfter = 2 * time.Second
	// shrinkBatch is the most cgroups removed in a turn.
	shrinkBatch = 8
	// reclaimBatch is the most cgroups that a command looks at to find an empty one. A command that
	// needs none looks at one, so that cgroups whose processes have ended do not pile up.
	reclaimBatch = 8
)

// Missing says why each protection is missing. A field is empty if it is there.
type Missing struct {
	_      [0]func() // needs no comparison
	Cgroup string    // no cgroup for each command
	Pids   string    // no limit on its processes
	Memory string    // no limit on the memory of all commands
	PSI    string    // no report from the kernel when commands stall
	OOM    string    // the OOM killer may choose the agent
}

// New returns a pool that confines nothing until Open. boxes calls a function with the cgroup of
// each running command; those that are nil are ignored.
func New(loop *reactor.Loop, log *log.Log, garbage *sys.Garbage, boxes func(func(*Box))) *Pool {
	return &Pool{loop: loop, log: log, garbage: garbage, boxes: boxes, victims: victims{fd: -1}}
}

// Open protects the agent from commands, as far as the machine allows, and logs what is missing. A
// command may have maxPids processes.
func (t *Pool) Open(maxPids uint32) {
	t.reserve.fill()
	t.lowerOOMScore()
	if sys.IsMachineInit() {
		t.loop.Share()
	}
	t.openCgroups(maxPids)
	t.stalls.open(t)
	t.blocks.open(t)
	if t.memory {
		t.victims.open()
	}
}

// Close removes every cgroup without processes, and stops the protection. Closing again does
// nothing.
func (t *Pool) Close() {
	t.reserve.open()
	t.stalls.close()
	t.blocks.Close()
	t.victims.close()
	t.close()
}

// Contained reports whether commands run in cgroups.
func (t *Pool) Contained() bool { return t.path != "" }

// Busy returns how many cgroups belong to running commands.
func (t *Pool) Busy() int { return t.busy }

// Idle returns how many cgroups wait for a command.
func (t *Pool) Idle() int { return len(t.idle) }

// Left returns how many cgroups belong to processes that outlived their command.
func (t *Pool) Left() int { return len(t.left) }

// Next returns the directory of the cgroup that Take would return; empty if it would make a new
// one.
func (t *Pool) Next() string {
	if len(t.idle) == 0 {
		return ""
	}
	return t.idle[len(t.idle)-1].name
}

// Path returns the directory of the cgroups; empty without cgroups.
func (t *Pool) Path() string { return t.path }

// Steady reports whether the last start in a cgroup succeeded and no timer runs to remove idle
// cgroups.
func (t *Pool) Steady() bool { return t.strikes == 0 && !t.shrink.Running() }

// openCgroups makes the directory, in the cgroup of the agent itself. It logs how commands are
// contained, and each controller that is missing.
func (t *Pool) openCgroups(maxPids uint32) {
	log := t.log
	base, err := ownCgroup(t.buf[:])
	if err == nil {
		removeLeftOver(base, t.buf[:])
		err = t.claim(base)
	}
	if err != nil {
		t.Missing.Cgroup = err.Error()
		log.Info("commands are contained", "by", "process group and /proc",
			"processes", "unlimited", "reason", t.Missing.Cgroup)
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

// allow enables a controller for the cgroups of commands. The kernel refuses if the agent's cgroup
// is not the root, because the agent itself is in it.
func (t *Pool) allow(base, controller string) error {
	sys.WriteFile(base+"/cgroup.subtree_control", controller)
	return sys.WriteFile(t.path+"/cgroup.subtree_control", controller)
}

// mounts are where cgroup2 may be mounted.
var mounts = [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// mountOf returns where the cgroup2 of a directory is mounted.
func mountOf(path string) string {
	if v := mounts[1]; len(path) > len(v) && path[:len(v)+1] == v+"/" {
		return v
	}
	return mounts[0]
}

// ownCgroup returns the directory of this process's cgroup. The cgroup2 file system is mounted
// alone, or beside that of version 1.
func ownCgroup(buf []byte) (string, error) {
	for _, mount := range mounts {
		var st unix.Stat_t
		if unix.Stat(mount+"/cgroup.controllers", &st) != nil { // version 1 has no such file
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

// TakeAside is Take for a cgroup outside the directory of the others, so that a freeze of all
// commands leaves it alone. Nothing limits what is in it. Give removes it.
func (t *Pool) TakeAside() *Box {
	if t.path == "" {
		return nil
	}
	g, err := t.makeAt(t.path + "-aside-")
	if err != nil {
		return nil
	}
	g.spoiled = true
	t.busy++
	return g
}

func (t *Pool) make() (*Box, error) {
	g, err := t.makeAt(t.path + "/")
	if err != nil {
		return nil, err
	}
	if t.maxPids != "" {
		sys.WriteFile(g.name+"/pids.max", t.maxPids)
	}
	t.keepFiles(g)
	return g, nil
}

// makeAt makes a cgroup whose path is a number after before.
func (t *Pool) makeAt(before string) (*Box, error) {
	g := &Box{name: before + sys.Num(t.made), before: usage{known: true}}
	if err := unix.Mkdir(g.name, 0o755); err != nil {
		return nil, sys.NewError("mkdir", g.name, err)
	}
	t.made++
	var err error
	if g.dir, err = sys.OpenDir(g.name); err != nil {
		unix.Rmdir(g.name)
		return nil, err
	}
	return g, nil
}

// Give returns a cgroup after its command has exited; nil does nothing. Processes that the command
// left behind go on running, and keep the cgroup until they end.
func (t *Pool) Give(g *Box) {
	if g != nil {
		t.busy--
		t.keep(g)
	}
}

// keep files a cgroup as left if it has processes, and otherwise as idle or for removal.
func (t *Pool) keep(g *Box) {
	defer t.shrinkLater()
	switch {
	case g.populated():
		t.left = append(t.left, g)
	case t.path != "" && len(t.idle) < t.busy+MaxIdle && !g.spoiled:
		if t.memory {
			g.OutOfMemory() // kills that were not reported are not the next command's
		}
		t.idle = append(t.idle, g)
	default:
		t.remove(g)
	}
}

// reclaim looks at left cgroups, and keeps those that are empty by now for commands.
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

// Expired implements [reactor.TimerHandler]. It removes idle cgroups, a batch a turn. It looks at a
// cgroup that still has processes only once. The next look is at the start of a command, because
// the processes may stay for ever and the timer must not run for ever.
func (t *Pool) Expired(*reactor.Timer) {
	if t.unseen == 0 {
		t.unseen = len(t.left)
	}
	n := min(t.unseen, shrinkBatch)
	t.unseen -= n
	t.reclaim(n)
	for n = 0; n < shrinkBatch && len(t.idle) > MaxIdle; n++ {
		last := len(t.idle) - 1
		t.remove(t.idle[last])
		t.idle = t.idle[:last]
	}
	t.shrink.Stop()
	if t.unseen > 0 || len(t.idle) > MaxIdle {
		t.loop.Start(&t.shrink, 0, t)
	}
}

// close removes the cgroups that are empty. The others stay with their processes.
func (t *Pool) close() {
	for _, g := range append(t.idle, t.left...) {
		t.remove(g)
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

// MaxStrikes is how many commands in a row may fail to start in a cgroup before cgroups are given
// up.
const MaxStrikes = 3

// Works is called when a command has started, in a cgroup or without.
func (t *Pool) Works() { t.strikes = 0 }

// Blame is called when a command could not start in a cgroup, but could without. Another program
// may have removed the cgroup, and the idle ones with it. So Blame removes the idle ones, and new
// ones are made.
func (t *Pool) Blame(err error) {
	for _, g := range t.idle {
		t.remove(g)
	}
	t.idle = nil
	if t.strikes++; t.strikes == MaxStrikes {
		t.Fail(err)
		return
	}
	t.log.Warn("a command runs without a cgroup", "error", err.Error())
}

// Fail gives up cgroups.
func (t *Pool) Fail(err error) {
	t.close()
	t.Missing.Cgroup = err.Error()
	t.log.Warn("commands are no longer contained by cgroup", "error", t.Missing.Cgroup)
}

// Kill kills every process of a command. They are those in its cgroup, or without one those that
// /proc shows to be its own. leader is the pid of the first process.
func (t *Pool) Kill(g *Box, leader int) {
	t.reserve.open()
	if g == nil || g.kill() != nil {
		killTree(leader)
	}
	t.reserve.fill()
}

// Signal sends a signal to every process of a command, which it finds as Kill does.
func (t *Pool) Signal(g *Box, leader int, sig unix.Signal) {
	if g != nil {
		g.each(func(pid int) { unix.Kill(pid, sig) })
		return
	}
	for _, p := range descendants(leader) {
		unix.Kill(p.pid, sig)
	}
}

// Has reports whether a process belongs to a command, which it finds as Kill does.
func (t *Pool) Has(g *Box, leader, pid int) bool {
	if g != nil {
		return g.has(pid)
	}
	for _, p := range descendants(leader) {
		if p.pid == pid {
			return true
		}
	}
	return false
}

// Adopt adds an open directory as an idle cgroup. It is for tests that need a directory that no
// process can enter.
func (t *Pool) Adopt(name string, dir int) {
	t.idle = append(t.idle, &Box{name: name, dir: dir})
}
