package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// leastPeak is the least peak of a tree, in bytes: a process has a stack in the kernel and page tables.
// The kernel counts in batches of as much as 64 pages, so a small command may show less.
const leastPeak = 64 << 10

// usage is what a cgroup has used: processor time in microseconds, memory in bytes at the moment.
type usage struct {
	known                bool
	user, system, memory uint64
}

// total returns what all commands ever used in the cgroup. cpu.stat does not depend on a controller;
// memory says whether there is one for memory.
func (g *Box) total(memory bool) (u usage) {
	var buf [256]byte // what counts are the first three lines
	n, err := sys.ReadFileAt(g.dir, "cpu.stat", buf[:])
	u.known = err == nil
	for text := sys.Alias(buf[:max(n, 0)]); text != ""; {
		var line string
		line, text, _ = sys.Cut(text, '\n')
		name, value, _ := sys.Cut(line, ' ')
		switch name {
		case "user_usec":
			u.user, _, _ = sys.TakeNumber(value)
		case "system_usec":
			u.system, _, _ = sys.TakeNumber(value)
		}
	}
	if memory {
		u.memory = g.number("memory.current")
	}
	return u
}

// since returns what was used between before and u.
func (u *usage) since(before *usage) usage {
	return usage{
		known:  u.known && before.known,
		user:   above(u.user, before.user),
		system: above(u.system, before.system),
		memory: above(u.memory, before.memory),
	}
}

// above returns a - b, and 0 if b is larger.
func above(a, b uint64) uint64 { return a - min(a, b) }

// PeakMeter is a descriptor of memory.peak. Since Linux 6.12 it tells the peak since it was written
// to. An older kernel tells the peak of all commands ever in the cgroup, so there is no meter then,
// which is 0.
type PeakMeter int

// Open starts the meter, if g is not nil. It comes before the first process in the cgroup.
func (m *PeakMeter) Open(g *Box) {
	if g == nil {
		return
	}
	fd, err := unix.Openat(g.dir, "memory.peak", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if _, err = unix.Write(fd, []byte("0")); err != nil {
		unix.Close(fd)
		return
	}
	*m = PeakMeter(fd)
}

// read returns the most memory since open, in bytes.
func (m *PeakMeter) read() (peak uint64, ok bool) {
	if *m == 0 {
		return 0, false
	}
	var buf [32]byte
	n, _ := unix.Pread(int(*m), buf[:], 0)
	peak, _, ok = sys.TakeNumber(string(buf[:max(n, 0)]))
	return peak, ok
}

// Close releases the descriptor. Doing it again does nothing.
func (m *PeakMeter) Close() {
	if *m != 0 {
		unix.Close(int(*m))
		*m = 0
	}
}

// number returns the number in a file of the cgroup; 0 if there is none.
func (g *Box) number(file string) uint64 { return sys.ReadNumber(g.dir, file) }

// Count returns how many processes are in the cgroup.
func (g *Box) Count() (n uint32) {
	g.each(func(int) { n++ })
	return n
}

// each calls f with each process of the cgroup that one look finds.
func (g *Box) each(f func(pid int)) {
	fd, err := unix.Openat(g.dir, "cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var buf [1 << 10]byte
	pid := 0
	for {
		n, err := unix.Read(fd, buf[:])
		if err != nil || n <= 0 {
			return
		}
		for _, c := range buf[:n] {
			if c == '\n' {
				f(pid)
				pid = 0
			} else {
				pid = pid*10 + int(c-'0')
			}
		}
	}
}

// Spent returns what the command has used so far: processor time in microseconds, and the most
// memory in bytes. ok is false if the cgroup cannot tell for this command alone.
func (g *Box) Spent(m *PeakMeter) (user, system, most uint64, ok bool) {
	end := g.total(true)
	u := end.since(&g.before)
	most, ok = m.read()
	if !u.known || !ok {
		return 0, 0, 0, false
	}
	// The rest of earlier commands, as far as it is still there, is not this one's.
	most = above(most, min(g.before.memory, end.memory))
	return u.user, u.system, max(most, leastPeak), true
}

// Using returns the processor time in microseconds that the command has used so far, and the memory
// in bytes that it uses now. ok is false if the cgroup cannot tell.
func (g *Box) Using() (cpu, memory uint64, ok bool) {
	end := g.total(true)
	u := end.since(&g.before)
	if !u.known {
		return 0, 0, false
	}
	memory = u.memory
	if g.before.memory > 0 {
		// The rest of earlier commands is file cache that may have been freed meanwhile, which
		// would hide as much memory of this one. Its anonymous memory is its own in any case.
		var buf [64]byte // it is the first line
		memory = max(memory, sys.ReadFigure(g.dir, "memory.stat", "anon", buf[:]))
	}
	return u.user + u.system, memory, true
}
