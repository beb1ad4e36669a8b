package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Box is the cgroup of one command, or of several in turn.
type Box struct {
	name string
	dir  int // descriptor of its directory
	// spoiled means that it is not used again. Linux 6.18 takes a count of kills from the parent's own
	// cgroup at a fork into another, and kills the child if that differs from the count of the other.
	// A child that is forked into a frozen cgroup never executes its program.
	spoiled bool
	// before is what earlier commands used in it, which does not count for this one.
	before usage
	// oomKills is how many of its processes the kernel killed for want of memory, up to the last call
	// of OutOfMemory, and starved how many the agent killed since.
	oomKills, starved uint32
}

// Name returns the path of the cgroup's directory.
func (g *Box) Name() string { return g.name }

// Dir returns the descriptor of the cgroup's directory, which stays the pool's.
func (g *Box) Dir() int { return g.dir }

// kill kills every process in the cgroup, even one that is being forked; cgroup.kill, since Linux
// 5.14.
func (g *Box) kill() error {
	g.spoiled = true
	return sys.WriteFile(g.name+"/cgroup.kill", "1")
}

// populated reports whether a process is in the cgroup. Zombies are not counted.
func (g *Box) populated() bool {
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

// OutOfMemory returns how many of the command's processes were killed for want of memory since the
// last call, by the kernel or by the agent. It is 0 if memory is not accounted for.
func (g *Box) OutOfMemory() uint32 {
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
func (g *Box) remove() {
	unix.Rmdir(g.name)
	unix.Close(g.dir)
}
