package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// makeReceipt fills in what exited says.
func (s *session) makeReceipt() {
	r := &s.receipt
	*r = framing.Exited{
		Code: s.exitCode(), ElapsedUS: uint64(s.took.Microseconds()), Killed: s.oomKills,
		Output: s.out[0].total, Errors: s.out[1].total, OutputDropped: s.out[0].dropped, ErrorsDropped: s.out[1].dropped,
	}
	if s.status.Signaled() {
		r.Signal, r.Core = uint8(s.status.Signal()), s.status.CoreDump()
	}
	r.Held = s.tellHeld && s.exited && (s.out[0].pipe.Open() || s.out[1].pipe.Open())
	switch {
	case s.timedOut:
		r.Reason = framing.ReasonTimedOut
	case s.cancelled:
		r.Reason = framing.ReasonCancelled
	case r.Signal == uint8(unix.SIGKILL) && r.Killed > 0:
		r.Reason = framing.ReasonOutOfMemory
	case r.Signal != 0:
		r.Reason = framing.ReasonSignalled
	}
	if !s.exited { // it was killed and cannot die
		r.Signal = uint8(unix.SIGKILL)
		r.ElapsedUS = s.record().AgeUS
		if !s.timedOut {
			r.Code = 128 + int32(unix.SIGKILL)
		}
	}
	s.account(r)
}

// account adds what it used: all that it became, where its cgroup can tell all of it, or else the
// process and what it waited for.
func (s *session) account(r *framing.Exited) {
	killed := s.timedOut || s.cancelled // what is still there of it is dying
	used := s.child.Usage()
	r.UserUS, r.SystemUS = uint64(used.User.Microseconds()), uint64(used.System.Microseconds())
	r.Peak = uint64(used.Peak)
	g := s.cgroup
	if g == nil {
		if !killed {
			r.Left = leftOf(s.pid)
		}
		return
	}
	if !killed {
		r.Left = g.count()
	}
	end := g.total(true)
	if u := end.since(&g.before); u.known {
		if peak, ok := s.peak.read(); ok {
			// The rest of earlier commands, as far as it is still there, is not this one's.
			peak = above(peak, min(g.before.memory, end.memory))
			r.UserUS, r.SystemUS, r.Tree = u.user, u.system, true
			r.Peak = max(peak, leastPeak)
		}
	}
}

// leastPeak is the least peak of a tree, in bytes: a process has a stack in the kernel and page tables.
// The kernel counts in batches of as much as 64 pages, so a small command may show less.
const leastPeak = 64 << 10

// leftOf is how many processes are still in the group or the session of a process that has exited, or come of those that are.
func leftOf(leader int) (n uint32) {
	for _, p := range descendants(leader) {
		if !p.dead && p.pid != leader {
			n++
		}
	}
	return n
}

// usage is what a cgroup has used: processor time in microseconds, memory in bytes at the moment.
type usage struct {
	known                bool
	user, system, memory uint64
}

// total reads what all commands used that were ever in the cgroup. cpu.stat is there whatever
// controllers are; memory says whether the one for memory is.
func (g *cgroup) total(memory bool) (u usage) {
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

// peakMeter is a descriptor of memory.peak, from which Linux 6.12 and later read the peak since the
// descriptor was written to. 0 is none: an older kernel tells the peak of all commands that were ever
// in the cgroup, which says nothing about the last.
type peakMeter int

// open starts the meter. It is called before the first process of a session is in the cgroup.
func (m *peakMeter) open(g *cgroup) {
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
	*m = peakMeter(fd)
}

// read returns the most memory since open, in bytes.
func (m *peakMeter) read() (peak uint64, ok bool) {
	if *m == 0 {
		return 0, false
	}
	var buf [32]byte
	n, _ := unix.Pread(int(*m), buf[:], 0)
	peak, _, ok = sys.TakeNumber(string(buf[:max(n, 0)]))
	return peak, ok
}

// close releases the descriptor.
func (m *peakMeter) close() {
	if *m != 0 {
		unix.Close(int(*m))
		*m = 0
	}
}

// number reads a file of the cgroup that holds one; 0 if there is none.
func (g *cgroup) number(file string) uint64 { return sys.ReadNumber(g.dir, file) }

// count is how many processes are in it.
func (g *cgroup) count() (n uint32) {
	g.each(func(int) { n++ })
	return n
}

// each calls f for each process in it, as far as they come within one look.
func (g *cgroup) each(f func(pid int)) {
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
