package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// stopRounds limits how often killTree looks for processes that still run.
const stopRounds = 8

// killTree kills a command without a cgroup: its process group, the rest of its session, and every
// descendant, whatever group or session it moved to. It stops them first, in rounds until none
// runs, so that none can fork. The children of a process that is killed become init's, and can no
// longer be found.
func killTree(leader int) {
	unix.Kill(-leader, unix.SIGSTOP)
	var stopped []int
	var tree []procStat
	for range stopRounds {
		before := len(stopped)
		tree = descendants(leader)
		for _, p := range tree {
			if !p.halted {
				unix.Kill(p.pid, unix.SIGSTOP)
				stopped = append(stopped, p.pid)
			}
		}
		if len(stopped) == before {
			break
		}
	}
	unix.Kill(-leader, unix.SIGKILL)
	for _, pid := range stopped {
		unix.Kill(pid, unix.SIGKILL)
	}
	for _, p := range tree {
		unix.Kill(p.pid, unix.SIGKILL)
	}
}

// procStat is an entry of /proc/PID/stat.
type procStat struct {
	pid, parent, group, session int
	halted                      bool // stopped, or dead
	dead                        bool
}

// descendants returns the processes that belong to the leader according to /proc, with the leader.
func descendants(leader int) []procStat {
	procs := processes()
	tree := 0 // they are moved to the front
	for grew := true; grew; {
		grew = false
		for i := tree; i < len(procs); i++ {
			p := procs[i]
			if p.pid == leader || p.group == leader || p.session == leader ||
				contains(procs[:tree], p.parent) {
				procs[i], procs[tree] = procs[tree], p
				tree++
				grew = true
			}
		}
	}
	return procs[:tree]
}

func contains(tree []procStat, pid int) bool {
	for i := range tree {
		if tree[i].pid == pid {
			return true
		}
	}
	return false
}

// processes returns all processes in /proc, or none if it is not mounted.
func processes() (procs []procStat) {
	dir, err := sys.OpenDir("/proc")
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	sys.EachEntry(dir, make([]byte, sys.KernelFile), func(name string) {
		if pid, ok := sys.ParseNumber(name); ok {
			if p, ok := readStat(dir, name); ok {
				p.pid = int(pid)
				procs = append(procs, p)
			}
		}
	})
	return procs
}

// readStat reads /proc/PID/stat; proc_pid_stat(5).
func readStat(proc int, pid string) (p procStat, ok bool) {
	fd, err := unix.Openat(proc, pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, false
	}
	var buf [512]byte
	n, err := unix.Read(fd, buf[:])
	unix.Close(fd)
	if err != nil {
		return p, false
	}
	// The name is in parentheses and may contain any character. The last one ends it.
	name := n
	for name > 0 && buf[name-1] != ')' {
		name--
	}
	_, rest, _ := sys.Cut(string(buf[name:n]), ' ')
	state, rest, _ := sys.Cut(rest, ' ')
	p.dead = state == "Z" || state == "X"
	p.halted = p.dead || state == "T" || state == "t"
	for _, field := range [...]*int{&p.parent, &p.group, &p.session} {
		var text string
		text, rest, _ = sys.Cut(rest, ' ')
		n, ok := sys.ParseNumber(text)
		if !ok {
			return p, false
		}
		*field = int(n)
	}
	return p, true
}

// LeftBy returns how many processes a command has left behind. They are in the group or session of
// its leader, which has exited, or descend from such a process.
func LeftBy(leader int) (n uint32) {
	for _, p := range descendants(leader) {
		if !p.dead && p.pid != leader {
			n++
		}
	}
	return n
}
