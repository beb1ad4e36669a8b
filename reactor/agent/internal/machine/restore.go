package machine

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// restore is a host's word that the machine was restored from a snapshot. A snapshot of a frozen guest is of a frozen file
// system, and the copy is not asked to thaw by the host that froze the original.
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
	s.Contain.LimitMemory() // a balloon may have another size
	r.clockStep()           // the clock's jump is accounted for
	if r.hostPending {
		r.hostPending = false // this restore is counted already
	} else {
		r.record("by", "host")
	}
	if f := &s.freezer; f.canThaw() {
		f.thawFor(c, p.Seq, r.epoch)
	} else {
		c.Done(p.Seq, r.epoch, nil)
	}
	return nil
}

// applyRestore makes randomness and time good again, in this order: what reads the right time shall not meet the old randomness.
func applyRestore(ns uint64, entropy []byte) error {
	switch {
	case len(entropy) > sys.MaxEntropy:
		return &sys.WordedError{Errno: unix.EINVAL, Words: "restore: more than " + sys.Num(sys.MaxEntropy) + " bytes of entropy"}
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

// restores counts how often the machine was restored from a snapshot: as often as a host says so, and as often as the agent
// sees it. A restore has two signs. The device resets all connections to the host at once; Firecracker does so when the
// snapshot is made, so the machine that goes on sees that too. And the clock jumps, or differs from the host's.
type restores struct {
	service *Service
	epoch   uint64
	// wall is CLOCK_REALTIME less CLOCK_MONOTONIC at the last look: it moves when somebody sets the clock, and only then.
	clockOffset time.Duration
	// first and last are when connections were reset since the last one was opened, of which there were some.
	resetSeen   bool
	first, last time.Duration
	// suspected: all were, and there was nothing about the clock. It is looked at again when a connection opens.
	suspected bool
	// untold: the last time that all were reset was a restore that the agent saw, and the host has not told of it yet.
	hostPending bool
}

const (
	// resetSpread is how far apart the resets of a restore may be seen.
	resetSpread = 100 * time.Millisecond
	// clockSlack is how wrong a clock may be.
	clockSlack = 100 * time.Millisecond
)

// sight is what is known when connections were reset.
type observation struct {
	connsLeft  int           // vsock connections that are left
	spread     time.Duration // from the first reset to the last
	clockStep  time.Duration // by which the clock was set since the last look
	clockError time.Duration // by which the host's clock is ahead; 0 if it cannot be asked
}

// resets reports whether the connections ended as those of a restored machine.
func (s *observation) looksReset() bool { return s.connsLeft == 0 && s.spread <= resetSpread }

// restored reports whether the machine was restored.
func (s *observation) restored() bool {
	return s.looksReset() && (s.clockStep.Abs() > clockSlack || s.clockError.Abs() > clockSlack)
}

// count counts one more.
func (r *restores) record(pairs ...string) {
	r.epoch++
	r.service.Log.Warn("restored from a snapshot", append(pairs, "epoch", sys.Num(int64(r.epoch)))...)
}

// opened is told of a new connection.
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

// closed is told of the end of a connection.
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

// judge looks whether the machine was restored.
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
		r.clockStep()
	}
	if host >= 0 {
		unix.Close(host)
	}
}

// adjustClock sets the clock by the host's, if that can be asked and is another's time, and says what was done.
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

// step is by how much the clock was set since the last look, which this one is from now on.
func (r *restores) clockStep() time.Duration {
	ahead, ok := sys.ClockError(unix.CLOCK_MONOTONIC)
	if !ok {
		return 0
	}
	last := r.clockOffset
	r.clockOffset = -ahead
	return r.clockOffset - last
}
