package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Box is the cgroup of one command, and later of others.
type Box struct {
	name string
	dir  int // descriptor of the cgroup's directory
	// spoiled means that the cgroup is not used again. At a fork into another cgroup, Linux 6.18
	// compares the counts of kills of that cgroup and of the parent. It kills the child if they
	// differ. A child that is forked into a frozen cgroup never executes its program.
	spoiled bool
	counts  bool // the io controller counts for it alone
	// before is the usage of earlier commands, which does not count for this one.
	before usage
	// oomKills is how many of its processes the OOM killer killed, up to the last call of
	// OutOfMemory. starved is how many the agent killed since.
	oomKills, starved uint32
}

// Name returns the path of the cgroup's directory.
func (g *Box) Name() string { return g.name }

// Restrict writes a limit to a file of the cgroup, which is not used again afterwards. The error is
// ENOENT without a cgroup.
func (g *Box) Restrict(file, value string) error {
	if g == nil {
		return sys.NewError("limit", file, unix.ENOENT)
	}
	g.spoiled = true
	return sys.WriteFile(g.name+"/"+file, value)
}

// has reports whether a process is in the cgroup, or in one below it. A process that has been
// reaped is not.
func (g *Box) has(pid int) bool {
	var buf [512]byte
	n, err := sys.ReadFile("/proc/"+sys.Num(pid)+"/cgroup", buf[:])
	if err != nil {
		return false
	}
	own := g.name[len(mountOf(g.name)):]
	for lines := string(buf[:n]); lines != ""; {
		var line string
		line, lines, _ = sys.Cut(lines, '\n')
		if len(line) >= 3+len(own) && line[:3] == "0::" && line[3:3+len(own)] == own {
			return len(line) == 3+len(own) || line[3+len(own)] == '/'
		}
	}
	return false
}

// Dir returns the descriptor of the cgroup's directory, which the pool owns.
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
		g.spoiled = true // another program removed the cgroup, which must have been empty
		return false
	}
	return populated || err != nil // populated if it cannot be read
}

// OutOfMemory returns how many of the command's processes were killed because memory ran out, since
// the last call. The kernel or the agent killed them. It is 0 if memory is not accounted for.
func (g *Box) OutOfMemory() uint32 {
	if g == nil {
		return 0
	}
	kills := g.starved
	g.starved = 0
	var buf [256]byte
	// The file may be unreadable by now, which is 0.
	total := uint32(sys.ReadFigure(g.dir, "memory.events", "oom_kill", buf[:]))
	if total > g.oomKills {
		kills += total - g.oomKills
		g.oomKills = total
	}
	return kills
}

// remove removes the cgroup and closes its directory.
func (g *Box) remove() {
	unix.Rmdir(g.name)
	unix.Close(g.dir)
}
