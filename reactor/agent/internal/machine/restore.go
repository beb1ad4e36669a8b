package machine

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// restore handles a restore: the host reports that the machine was restored from a snapshot. A
// snapshot taken during a freeze holds a frozen file system. The host that froze the original will
// not thaw the copy, so restore does. Meanwhile another restore or an identity may not have been
// answered yet, and then tells the machine's programs.
func (s *Service) restore(c *wire.Conn, p *framing.Part) error {
	ns, entropy, err := framing.ParseRestore(p.Data)
	if err != nil {
		return err
	}
	r := &s.restores
	if err := applyRestore(ns, entropy); err != nil {
		c.Done(p.Seq, r.epoch, err)
		return nil
	}
	r.report()
	switch f := &s.freezer; {
	case !s.clone.busy:
		s.clone.begin(c, p.Seq, true)
	case f.canThaw():
		f.thawFor(c, p.Seq, r.epoch)
	default:
		c.Done(p.Seq, r.epoch, nil)
	}
	return nil
}

// restored calls Restored.
func (s *Service) restored() {
	if s.Restored != nil {
		s.Restored()
	}
}

// applyRestore restores entropy and then the clock, in this order: a program that reads the right
// time must not get the old randomness.
func applyRestore(ns uint64, entropy []byte) error {
	switch {
	case len(entropy) > sys.MaxEntropy:
		return errEntropy("restore")
	case len(entropy) > 0:
		if err := sys.AddEntropy(entropy); err != nil {
			return err
		}
	}
	if ns == 0 {
		return nil
	}
	return sys.SetClock(ns)
}

func errEntropy(request string) error {
	words := request + ": more than " + sys.Num(sys.MaxEntropy) + " bytes of entropy"
	return &sys.WordedError{Errno: unix.EINVAL, Words: words}
}

// restores counts restores from a snapshot: those that a host reports, and those that the agent
// detects.
//
// A detected restore has two signs. First, the device resets all vsock connections at once.
// Firecracker does that when it takes the snapshot, so the original machine sees it too. Second,
// the clock jumps, or differs from the host's.
type restores struct {
	service *Service
	epoch   uint64
	// clockOffset is CLOCK_REALTIME less CLOCK_MONOTONIC at the last check. It changes only
	// when a program sets the clock.
	clockOffset time.Duration
	// resetSeen reports that connections were reset since the last one opened, from first to
	// last.
	resetSeen   bool
	first, last time.Duration
	// suspected reports that all connections were reset but the clock was right. The next
	// connection checks the clock again.
	suspected bool
	// hostPending reports that the agent has counted a restore which the host has not
	// reported yet.
	hostPending bool
}

const (
	// resetSpread limits the time between the first and the last reset of one restore.
	resetSpread = 100 * time.Millisecond
	// clockSlack is the clock error that a running machine may have.
	clockSlack = 100 * time.Millisecond
)

// observation is what is known after connections were reset.
type observation struct {
	connsLeft  int           // vsock connections that are still open
	spread     time.Duration // from the first reset to the last
	clockStep  time.Duration // by which the clock was set since the last check
	clockError time.Duration // how far the host's clock is ahead; 0 if unknown
}

// looksReset reports whether the connections ended as in a restore.
func (s *observation) looksReset() bool { return s.connsLeft == 0 && s.spread <= resetSpread }

// restored reports whether the machine was restored.
func (s *observation) restored() bool {
	return s.looksReset() && (s.clockStep.Abs() > clockSlack || s.clockError.Abs() > clockSlack)
}

// report counts a restore that a host has told of.
func (r *restores) report() {
	r.service.Contain.LimitMemory() // a balloon may have another size
	r.clockStep()                   // this jump is accounted for
	if r.hostPending {
		r.hostPending = false // this restore is counted already
	} else {
		r.record("by", "host")
	}
	r.service.restored()
}

// record counts a restore and logs it with pairs.
func (r *restores) record(pairs ...string) {
	r.epoch++
	pairs = append(pairs, "epoch", sys.Num(int64(r.epoch)))
	r.service.Log.Warn("restored from a snapshot", pairs...)
}

// connOpened handles a new connection.
func (r *restores) connOpened(c *wire.Conn) {
	if !c.Vsock() {
		return
	}
	if r.suspected {
		r.check()
	} else {
		r.clockStep()
	}
	r.resetSeen, r.suspected = false, false
}

// connClosed handles the end of a connection.
func (r *restores) connClosed(c *wire.Conn) {
	if !c.Vsock() {
		return
	}
	if !c.WasReset() {
		r.resetSeen = false
		return
	}
	r.last = reactor.Now()
	if !r.resetSeen {
		r.resetSeen, r.first = true, r.last
	}
	r.check()
}

// check detects a restore after connections were reset.
func (r *restores) check() {
	s := observation{spread: r.last - r.first}
	_, s.connsLeft = r.service.Server.Count()
	if !s.looksReset() {
		return
	}
	s.clockStep = r.clockStep()
	host := sys.OpenHostClock()
	if host >= 0 {
		s.clockError, _ = sys.ClockError(unix.FdToClockID(host))
	}
	r.hostPending = s.restored()
	r.suspected = !r.hostPending
	if r.hostPending {
		r.service.Contain.LimitMemory()
		r.record("by", "resets and clock", "clock", adjustClock(host, s.clockError))
		r.service.generation.write(r.epoch)
		r.clockStep()
		r.service.restored()
	}
	if host >= 0 {
		unix.Close(host)
	}
}

// adjustClock sets the clock to the host's if they differ. It returns what it did, for the log.
// host is a clock's descriptor, or -1 if the host's clock cannot be read.
func adjustClock(host int, wrong time.Duration) string {
	if host < 0 || wrong.Abs() <= clockSlack {
		return "left"
	}
	var t unix.Timespec
	err := unix.ClockGettime(unix.FdToClockID(host), &t)
	if err == nil {
		err = sys.SetClock(uint64(t.Nano()))
	}
	if err != nil {
		return err.Error()
	}
	return "set"
}

// clockStep returns by how much the clock was set since the last call.
func (r *restores) clockStep() time.Duration {
	ahead, ok := sys.ClockError(unix.CLOCK_MONOTONIC)
	if !ok {
		return 0
	}
	last := r.clockOffset
	r.clockOffset = -ahead
	return r.clockOffset - last
}
