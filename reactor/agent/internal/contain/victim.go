package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

const (
	// maxVictims is how many kills are remembered until a receipt asks for them.
	maxVictims = 8
	// victimBatch limits the records of the kernel's log that one receipt reads. A kill makes
	// up to some hundred, because the kernel lists the processes.
	victimBatch = 4096
	// victimGarbage is the garbage of reading them, in bytes.
	victimGarbage = sys.MaxKernelRecord + 2<<10
)

// victims are the processes that were killed last for want of memory. Those that the OOM killer
// killed are read from the kernel's log, when a command asks.
type victims struct {
	fd   int // of the kernel's log, behind the last record that was read; -1 for none
	list [maxVictims]victim
	n    int // kills so far; the newest is at (n-1) % maxVictims
}

// victim is a process that was killed for want of memory.
type victim struct {
	_          [0]func() // needs no comparison
	pid        int
	program    string
	constraint string // of the OOM killer, or what the agent killed it for
	cgroup     string // as the kernel names it
	resident   uint64 // in KiB
}

// open opens the kernel's log at its end. Without it only kills of the agent are known.
func (v *victims) open() {
	if fd, err := sys.OpenKernelLog(true); err == nil {
		v.fd = fd
	}
}

func (v *victims) close() {
	if v.fd >= 0 {
		unix.Close(v.fd)
		v.fd = -1
	}
}

// add remembers a kill.
func (v *victims) add(k victim) {
	v.list[v.n%maxVictims] = k
	v.n++
}

// read reads what the kernel has logged since the last time.
func (v *victims) read() {
	if v.fd < 0 {
		return
	}
	buf := make([]byte, sys.MaxKernelRecord)
	for range victimBatch {
		r, err := sys.ReadKernelRecord(v.fd, buf)
		if err != nil {
			return
		}
		if r.Priority>>3 == 0 { // a record of the kernel, not of a program
			v.take(sys.Alias(r.Text))
		}
	}
}

// take takes a line of the kernel's log. A kill has these two. The first may be missing, because
// the kernel limits its rate:
//
//	oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/wick-1/3,task=sh,pid=57,uid=0
//	Memory cgroup out of memory: Killed process 57 (sh) total-vm:9kB, anon-rss:5kB, …
func (v *victims) take(line string) {
	const constraints = "oom-kill:constraint=CONSTRAINT_"
	if rest, ok := sys.After(line, constraints); ok && line[:len(constraints)] == constraints {
		var k victim
		constraint, _, _ := sys.Cut(rest, ',')
		rest, _ = sys.After(rest, ",task_memcg=")
		cgroup, task, ok := cutText(rest, ",task=")
		program, rest, found := cutText(task, ",pid=")
		pid, _, numbered := sys.TakeNumber(rest)
		if !ok || !found || !numbered {
			return
		}
		k.pid, k.constraint = int(pid), lower(constraint)
		k.cgroup, k.program = string([]byte(cgroup)), string([]byte(program))
		v.add(k)
		return
	}
	rest, ok := sys.After(line, "ut of memory: Killed process ")
	if !ok {
		return
	}
	n, rest, ok := sys.TakeNumber(rest)
	program, figures, found := cutText(rest, ") total-vm:")
	if !ok || !found || len(program) < 2 || program[:2] != " (" {
		return
	}
	if v.n == 0 || v.newest().pid != int(n) || v.newest().resident != 0 {
		k := victim{pid: int(n), program: string([]byte(program[2:])), constraint: "none"}
		if line[0] == 'M' {
			k.constraint = "memcg"
		}
		v.add(k)
	}
	for _, name := range [...]string{"anon-rss:", "file-rss:", "shmem-rss:"} {
		text, _ := sys.After(figures, name)
		kib, _, _ := sys.TakeNumber(text)
		v.newest().resident += kib
	}
}

// newest returns the last kill. There must be one.
func (v *victims) newest() *victim { return &v.list[(v.n-1)%maxVictims] }

// find returns the kill of that process, or the last one in that cgroup, or nil.
func (v *victims) find(pid int, cgroup string) (found *victim) {
	for i := range min(v.n, maxVictims) {
		k := &v.list[(v.n-1-i)%maxVictims]
		if k.pid == pid {
			return k
		}
		// The kernel's path has others before the agent's own cgroup, and may have more
		// below.
		rest, in := sys.After(k.cgroup, cgroup)
		if found == nil && in && (rest == "" || rest[0] == '/') {
			found = k
		}
	}
	return found
}

// String says what was killed, as a receipt has it.
func (k *victim) String() string {
	return "process " + sys.Num(k.pid) + " (" + k.program + ") killed with " +
		sys.Decimal(int64(k.resident)) + " KiB resident, constraint " + k.constraint
}

// Victim says which process of a command was killed for want of memory: its leader, or else the
// last one. It is empty if that is not known.
func (t *Pool) Victim(g *Box, leader int) string {
	if g == nil {
		return ""
	}
	t.garbage.Collect(victimGarbage)
	t.victims.read()
	if k := t.victims.find(leader, t.cgroupOf(g)); k != nil {
		return k.String()
	}
	return ""
}

// cgroupOf returns the end of the path of a command's cgroup: "/wick-1/3".
func (t *Pool) cgroupOf(g *Box) string {
	i := sys.LastSlash(g.name)
	return g.name[max(sys.LastSlash(g.name[:max(i, 0)]), 0):]
}

// starvedVictim remembers a process that the agent kills. Call it before the kill.
func (t *Pool) starvedVictim(g *Box, pid int, pages uint64) {
	var buf [64]byte
	t.victims.add(victim{
		pid: pid, program: sys.ReadText("/proc/"+sys.Num(pid)+"/comm", buf[:]), constraint: "stall",
		cgroup: t.cgroupOf(g), resident: pages * uint64(unix.Getpagesize()) >> 10,
	})
}

// cutText splits s at the first sep.
func cutText(s, sep string) (before, after string, found bool) {
	after, found = sys.After(s, sep)
	if !found {
		return s, "", false
	}
	return s[:len(s)-len(after)-len(sep)], after, true
}

// lower returns a copy of s with small letters.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
