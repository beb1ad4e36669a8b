package session

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/contain"
)

// makeReceipt fills in what exited reports.
func (s *session) makeReceipt() {
	r := &s.receipt
	*r = framing.Exited{
		Code:          s.process.ExitCode(),
		ElapsedUS:     uint64(s.process.Elapsed().Microseconds()),
		Killed:        s.process.OOMKills(),
		Output:        s.out[0].total,
		Errors:        s.out[1].total,
		OutputDropped: s.out[0].dropped + s.out[0].lost,
		ErrorsDropped: s.out[1].dropped + s.out[1].lost,
	}
	if s.process.Status().Signaled() {
		r.Signal, r.Core = uint8(s.process.Status().Signal()), s.process.Status().CoreDump()
	}
	r.Held = s.reportHeld && s.process.HasExited() && (s.out[0].pipe.Open() || s.out[1].pipe.Open())
	switch {
	case s.process.TimedOut():
		r.Reason = framing.ReasonTimedOut
	case s.cancelled:
		r.Reason = framing.ReasonCancelled
	case r.Signal == uint8(unix.SIGKILL) && r.Killed > 0:
		r.Reason = framing.ReasonOutOfMemory
	case r.Signal != 0:
		r.Reason = framing.ReasonSignalled
	}
	if !s.process.HasExited() { // killed, but in uninterruptible sleep
		r.Signal = uint8(unix.SIGKILL)
		if !s.process.TimedOut() {
			r.Code = 128 + int32(unix.SIGKILL)
		}
	}
	if r.Killed > 0 {
		r.Message = []byte(s.process.Victim())
	}
	s.addUsage(r)
}

// addUsage adds what was used: by all descendants if the cgroup counts them, else by the process
// and the children that it waited for.
func (s *session) addUsage(r *framing.Exited) {
	killed := s.process.TimedOut() || s.cancelled // descendants that are left are dying
	used := s.process.Usage()
	r.UserUS, r.SystemUS = uint64(used.User.Microseconds()), uint64(used.System.Microseconds())
	r.Peak = uint64(used.Peak)
	g := s.process.Box
	if io, ok := g.IO(); ok {
		r.IO, r.HasIO = framing.IO(io), true
	}
	if g == nil {
		if !killed {
			r.Left = contain.LeftBy(s.process.PID())
		}
		return
	}
	if !killed {
		r.Left = g.Count()
	}
	if user, system, peak, ok := g.Spent(&s.peak); ok {
		r.UserUS, r.SystemUS, r.Peak, r.Tree = user, system, peak, true
	}
}
