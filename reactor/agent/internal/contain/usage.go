package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// leastPeak is the smallest peak of a tree that is reported, in bytes. A process has a kernel stack
// and page tables. The kernel counts in batches of up to 64 pages, so a small command may show
// less.
const leastPeak = 64 << 10

// usage is what a cgroup has used: processor time in microseconds, and its current memory in bytes.
type usage struct {
	known                bool
	user, system, memory uint64
}

// total returns the usage of all commands that were in the cgroup. limited says whether there is a
// memory controller. cpu.stat needs no controller.
func (g *Box) total(limited bool) (u usage) {
	var buf [256]byte // the first three lines are enough
	text, err := g.read(cpuFile, buf[:])
	u.known = err == nil
	u.user, u.system = sys.Figure(text, "user_usec"), sys.Figure(text, "system_usec")
	if limited {
		u.memory = g.memory()
	}
	return u
}

// since returns the usage between before and u.
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

// PeakMeter is a descriptor of memory.peak, or 0. Since Linux 6.12 the file has the peak since it
// was written to. On an older kernel it has the peak of all commands that were in the cgroup, so
// there is no meter.
type PeakMeter int

// Open starts the meter, if g is not nil. Call it before the first process is in the cgroup.
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

// read returns the peak of memory since Open, in bytes.
func (m *PeakMeter) read() (peak uint64, ok bool) {
	if *m == 0 {
		return 0, false
	}
	var buf [32]byte
	n, _ := unix.Pread(int(*m), buf[:], 0)
	peak, _, ok = sys.TakeNumber(string(buf[:max(n, 0)]))
	return peak, ok
}

// Close closes the descriptor. Closing again does nothing.
func (m *PeakMeter) Close() {
	if *m != 0 {
		unix.Close(int(*m))
		*m = 0
	}
}

// memory returns how much memory the cgroup uses, in bytes; 0 if it cannot be read.
func (g *Box) memory() uint64 {
	var buf [32]byte
	text, _ := g.read(memoryFile, buf[:])
	n, _, _ := sys.TakeNumber(text)
	return n
}

// Count returns how many processes are in the cgroup.
func (g *Box) Count() (n uint32) {
	g.each(func(int) { n++ })
	return n
}

// each calls f with each process in the cgroup, without those that join meanwhile.
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

// Spent returns what the command has used: processor time in microseconds, and its peak of memory
// in bytes. ok is false if the cgroup cannot tell for this command alone.
func (g *Box) Spent(m *PeakMeter) (user, system, most uint64, ok bool) {
	end := g.total(true)
	u := end.since(&g.before)
	most, ok = m.read()
	if !u.known || !ok {
		return 0, 0, 0, false
	}
	// The peak includes memory of earlier commands that is still charged.
	most = above(most, min(g.before.memory, end.memory))
	return u.user, u.system, max(most, leastPeak), true
}

// Using returns the processor time in microseconds that the command has used so far, and its
// current memory in bytes. ok is false if the cgroup cannot tell.
func (g *Box) Using() (cpu, memory uint64, ok bool) {
	end := g.total(true)
	u := end.since(&g.before)
	if !u.known {
		return 0, 0, false
	}
	memory = u.memory
	if g.before.memory > 0 {
		// The memory of earlier commands is file cache. If it was freed meanwhile, the difference
		// would hide that much of this command's memory. Its anonymous memory is always its own.
		var buf [64]byte // the first line is enough
		memory = max(memory, sys.ReadFigure(g.dir, "memory.stat", "anon", buf[:]))
	}
	return u.user + u.system, memory, true
}
