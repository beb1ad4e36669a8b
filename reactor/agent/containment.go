package agent

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// containment is a cgroup for each running command, so that all of it can be killed at once, whatever groups and sessions
// its processes moved to and however fast they fork, and so that it cannot fork without end. It works where a cgroup2
// file system is mounted and writable (cgroups(7)); elsewhere commands are known by their process group and by /proc.
//
// The cgroups are kept and used again: making one costs more than starting a command.
type containment struct {
	path    string // of the directory that they are in; empty where there is none
	maxPids string // for each, or empty if they are not counted
	memory  bool   // the memory of all is limited, and that of each is known
	total   uint64 // totalMemory when that limit was computed
	limit   uint64 // in bytes
	used    uint64 // bytes that they had then
	files   uint64 // bytes of these that were page cache
	busy    int    // those that a process has
	idle    []*cgroup
	left    []*cgroup // the command is gone, processes that it left running are not
	made    int
	strikes int  // failures since the last success
	warned  bool // that commands run without, since one last had a cgroup
	lock    int  // descriptor of the directory, locked: see claim
	// reason says why there is no directory, and the others why no limit on memory or processes.
	reason, noMemory, noPids string

	loop   *reactor.Loop
	shrink reactor.Timer        // until idle cgroups are removed
	unseen int                  // of those in left, that the timer has still to look at
	buf    [sys.KernelFile]byte // for reading
}

// cgroup is one of them.
type cgroup struct {
	name string
	dir  int // descriptor of its directory
	// spoiled: it is not used again. Linux compares a count of kills that a fork into a cgroup took from the parent's own with that of the
	// cgroup, and kills the child where they differ (seen on 6.18); and a child forked into one that its command froze would never execute its
	// program, for which the agent waits.
	spoiled bool
	// before is what earlier commands used in it. A record and a receipt leave that out.
	before usage
	// oomKills is how many of its processes the kernel killed for want of memory, as far as they were asked for, and starved how many the agent
	// did since they were.
	oomKills, starved uint32
}

// commandsWeight is the cpu.weight of all commands together. The agent has 100, and so has each
// kernel thread that works for it: those of the vsock device, and those that free the memory of
// killed processes. They get their turns however many commands there are, and commands get what they
// leave. At 100 the result of a fork bomb came 0.6 to 2.3 s after its timeout, in an emulated machine
// beside others, and at 25 it came after 0.1 to 0.4 s.
const commandsWeight = "25"

const (
	// maxIdle is the most cgroups kept for later commands. As many more as are in use are kept
	// until shrinkAfter has passed. 256 idle ones would be 12 MB of the kernel's memory.
	maxIdle     = 8
	shrinkAfter = 2 * time.Second
	// shrinkBatch is the most that are removed in a turn.
	shrinkBatch = 8
	// reclaimBatch is the most cgroups that one command looks at to find an empty one. If it needs none it looks at one, so that none stays for
	// long whose processes have ended.
	reclaimBatch = 8
)

// open makes the directory, below the cgroup of the agent itself. It logs once how commands are
// contained, and once for each controller that is missing.
func (t *containment) open(loop *reactor.Loop, log *Log, maxPids uint32) {
	t.loop = loop
	base, err := ownCgroup(t.buf[:])
	if err == nil {
		removeLeftOver(base, t.buf[:])
		err = t.claim(base)
	}
	if err != nil {
		t.reason = err.Error()
		log.Info("commands are contained", "by", "process group and /proc", "processes", "unlimited", "reason", t.reason)
		return
	}
	t.allow(base, "+cpu")
	sys.WriteFile(t.path+"/cpu.weight", commandsWeight)
	processes := "unlimited"
	if err := t.allow(base, "+pids"); err != nil {
		t.noPids = err.Error()
		log.Warn("processes of commands are not limited", "error", t.noPids)
	} else {
		t.maxPids = sys.Num(maxPids)
		processes = t.maxPids
	}
	if err := t.allow(base, "+memory"); err != nil {
		t.noMemory = err.Error()
		log.Warn("memory of commands is not limited", "error", t.noMemory)
	} else {
		t.memory, t.limit = true, math.MaxInt64
		t.limitMemory()
	}
	log.Info("commands are contained", "by", "cgroup", "processes", processes)
}

// allow has a controller work in the cgroups of commands. The kernel refuses where the agent's cgroup is not the root and has processes
// of its own: the agent.
func (t *containment) allow(base, controller string) error {
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

// take gives a cgroup without processes; nil where there are none, or none can be made.
func (t *containment) take(log *Log) *cgroup {
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
			log.Warn("commands run without a cgroup of their own", "error", err.Error())
		}
		return nil
	}
	t.warned = false
	t.busy++
	return g
}

func (t *containment) make() (*cgroup, error) {
	g := &cgroup{name: t.path + "/" + sys.Num(t.made), before: usage{known: true}}
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

// give takes a cgroup back from a command that has exited. What it left running keeps running, and the cgroup until then.
func (t *containment) give(g *cgroup) {
	if g != nil {
		t.busy--
		t.keep(g)
	}
}

// keep has it wait for its processes' end, or for a command.
func (t *containment) keep(g *cgroup) {
	defer t.shrinkLater()
	switch {
	case g.populated():
		t.left = append(t.left, g)
	case t.path != "" && len(t.idle) < t.busy+maxIdle && !g.spoiled:
		if t.memory {
			g.outOfMemory() // what nobody asked for is not the next command's
		}
		t.idle = append(t.idle, g)
	default:
		g.remove()
	}
}

// reclaim looks which of the cgroups left to their processes are empty by now, so many of them at most.
func (t *containment) reclaim(most int) {
	n := min(len(t.left), most)
	oldest := t.left[:n:n]
	t.left = t.left[n:]
	for _, g := range oldest {
		t.keep(g)
	}
}

// shrinkLater starts the timer that removes idle cgroups, unless it is running.
func (t *containment) shrinkLater() {
	if (len(t.idle) > maxIdle || len(t.left) > 0) && !t.shrink.Running() {
		t.loop.Start(&t.shrink, shrinkAfter, t)
	}
}

// Expired implements [reactor.TimerHandler]: it removes idle cgroups, a batch a turn. A cgroup that
// still has processes is looked at once, and then again when a command starts: they may stay for ever,
// and a timer must not.
func (t *containment) Expired(*reactor.Timer) {
	if t.unseen == 0 {
		t.unseen = len(t.left)
	}
	n := min(t.unseen, shrinkBatch)
	t.unseen -= n
	t.reclaim(n)
	for n = 0; n < shrinkBatch && len(t.idle) > maxIdle; n++ {
		last := len(t.idle) - 1
		t.idle[last].remove()
		t.idle = t.idle[:last]
	}
	t.shrink.Stop()
	if t.unseen > 0 || len(t.idle) > maxIdle {
		t.loop.Start(&t.shrink, 0, t)
	}
}

// close removes the cgroups that are empty, and there are none any more. Those that are not stay, for their processes are in them.
func (t *containment) close() {
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

// maxStrikes is how many cgroups in a row may fail before there are none any more.
const maxStrikes = 3

// blame is told of a cgroup that a command could not start in, though it could without. Somebody may have removed it, and those that
// wait for a command with it: they go, and new ones are made.
func (t *containment) blame(log *Log, err error) {
	for _, g := range t.idle {
		g.remove()
	}
	t.idle = nil
	if t.strikes++; t.strikes == maxStrikes {
		t.fail(log, err)
		return
	}
	log.Warn("a command runs without a cgroup", "error", err.Error())
}

// fail gives up on cgroups.
func (t *containment) fail(log *Log, err error) {
	t.close()
	t.reason = err.Error()
	log.Warn("commands are no longer contained by cgroup", "error", t.reason)
}

// kill kills every process in the cgroup, those included that are being forked; cgroup.kill, since Linux 5.14.
func (g *cgroup) kill() error {
	g.spoiled = true
	return sys.WriteFile(g.name+"/cgroup.kill", "1")
}

// populated reports whether a process is in the cgroup. Zombies are not counted.
func (g *cgroup) populated() bool {
	var buf [256]byte
	populated := false
	err := sys.ReadFigures(g.dir, "cgroup.events", buf[:], func(name string, value uint64) {
		populated = populated || name == "populated" && value != 0
		g.spoiled = g.spoiled || name == "frozen" && value != 0
	})
	if sys.IsErrno(err, unix.ENOENT) || sys.IsErrno(err, unix.ENODEV) {
		g.spoiled = true // somebody removed it, which takes that nothing was in it
		return false
	}
	return populated || err != nil // as far as can be known now
}

// outOfMemory is how many of the command's processes were killed for want of memory, whichever of them the kernel chose and whoever had
// eaten it, since this was last asked. 0 where memory is not accounted for.
func (g *cgroup) outOfMemory() uint32 {
	if g == nil {
		return 0
	}
	kills := g.starved
	g.starved = 0
	var buf [256]byte
	if total := uint32(sys.ReadFigure(g.dir, "memory.events", "oom_kill", buf[:])); total > g.oomKills { // or it cannot be read any more
		kills += total - g.oomKills
		g.oomKills = total
	}
	return kills
}

// remove gives the cgroup up.
func (g *cgroup) remove() {
	unix.Rmdir(g.name)
	unix.Close(g.dir)
}
