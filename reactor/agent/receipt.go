package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
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

// account is what it used: all that it became, where its cgroup tells, or else the process and what it waited for.
func (s *session) account(r *framing.Exited) {
	killed := s.timedOut || s.cancelled // what is still there of it is dying
	if g := s.cgroup; g != nil {
		end := g.figures()
		if !killed {
			r.Left = g.count()
		}
		if peak := s.base.peak(g); peak > 0 && end.known {
			r.UserUS, r.SystemUS, r.Peak, r.Tree = end.user-s.base.user, end.system-s.base.system, peak, true
			return
		}
	} else if !killed {
		r.Left = leftOf(s.pid)
	}
	used := s.child.Usage()
	r.UserUS, r.SystemUS, r.Peak = uint64(used.User.Microseconds()), uint64(used.System.Microseconds()), uint64(used.Peak)
}

// leftOf is how many processes are still in the group or the session of a process that has exited, or come of those that are.
func leftOf(leader int) (n uint32) {
	for _, p := range descendants(leader) {
		if !p.dead && p.pid != leader {
			n++
		}
	}
	return n
}

// figures are what a cgroup has used.
type figures struct {
	known        bool
	user, system uint64 // microseconds
	fresh        bool   // nothing was in it before: its peak is that of what is
	reset        int    // a descriptor of memory.peak that counts from a moment on, or 0
}

// figures reads cpu.stat, which is there whatever controllers are.
func (g *cgroup) figures() (f figures) {
	var buf [512]byte
	f.known = readFigures(g.dir, "cpu.stat", buf[:], func(name string, value uint64) {
		switch name {
		case "user_usec":
			f.user = value
		case "system_usec":
			f.system = value
		}
	}) == nil
	return f
}

// begin is what it had used before it is used. It is called before the first process of a session is in the cgroup. One that was used before has a peak of its own, which Linux 6.12
// can count anew for whoever asks by the same descriptor.
func (g *cgroup) begin() (f figures) {
	if g == nil {
		return f
	}
	if !g.used {
		g.used = true
		return figures{known: true, fresh: true}
	}
	f = g.figures()
	fd, err := unix.Openat(g.dir, "memory.peak", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		if _, err = unix.Write(fd, []byte("0")); err == nil {
			f.reset = fd
		} else {
			unix.Close(fd)
		}
	}
	return f
}

// peak is the most memory, in bytes, since begin; 0 if that is not known.
func (f *figures) peak(g *cgroup) uint64 {
	switch {
	case f.reset != 0:
		var buf [32]byte
		n, _ := unix.Pread(f.reset, buf[:], 0)
		peak, _, _ := takeNumber(string(buf[:max(n, 0)]))
		return peak
	case f.fresh:
		return g.number("memory.peak")
	}
	return 0
}

// close lets go of the descriptor.
func (f *figures) close() {
	if f.reset != 0 {
		unix.Close(f.reset)
		f.reset = 0
	}
}

// number reads a file of the cgroup that holds one; 0 if there is none.
func (g *cgroup) number(file string) uint64 { return readNumber(g.dir, file) }

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
