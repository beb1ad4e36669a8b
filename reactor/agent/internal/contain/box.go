package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Box is the cgroup of one command, and later of others.
type Box struct {
	_     [0]func() // needs no comparison
	name  string
	dir   int           // descriptor of the cgroup's directory
	keeps bool          // files are open
	files [numFiles]int // their descriptors; 0 or -1 for none
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

// file is a file of a cgroup that is read for every command.
type file uint8

const (
	eventsFile file = iota // cgroup.events
	cpuFile                // cpu.stat
	memoryFile             // memory.current
	killsFile              // memory.events
	numFiles
)

var fileNames = [numFiles]string{"cgroup.events", "cpu.stat", "memory.current", "memory.events"}

// read reads a file into buf. The text is in buf. The kernel makes an open file anew for each read
// from its beginning.
func (g *Box) read(f file, buf []byte) (text string, err error) {
	var n int
	if fd := g.files[f]; fd > 0 {
		n, err = sys.Pread(fd, buf, 0)
		err = sys.Wrap("read", fileNames[f], err)
	} else {
		n, err = sys.ReadFileAt(g.dir, fileNames[f], buf)
	}
	return sys.Alias(buf[:max(n, 0)]), err
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
	text, err := g.read(eventsFile, buf[:])
	populated := sys.Figure(text, "populated") != 0
	g.spoiled = g.spoiled || sys.Figure(text, "frozen") != 0
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
	text, _ := g.read(killsFile, buf[:]) // it may be unreadable by now, which is 0
	total := uint32(sys.Figure(text, "oom_kill"))
	if total > g.oomKills {
		kills += total - g.oomKills
		g.oomKills = total
	}
	return kills
}

// keepFiles opens the files of a new cgroup for as long as it is there, up to MaxIdle cgroups at a
// time. An open file takes 5 KiB of the kernel's memory.
func (t *Pool) keepFiles(g *Box) {
	if t.keepers == MaxIdle {
		return
	}
	t.keepers++
	g.keeps = true
	for f, name := range fileNames {
		// A file that is missing for want of a controller, or of descriptors, stays -1.
		g.files[f], _ = sys.Openat(g.dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
}

// remove removes the cgroup and closes its descriptors.
func (t *Pool) remove(g *Box) {
	unix.Rmdir(g.name)
	unix.Close(g.dir)
	for _, fd := range g.files {
		if fd > 0 {
			unix.Close(fd)
		}
	}
	if g.keeps {
		t.keepers--
	}
}
