package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/etc"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// clone is what is done for an identity, or for a restore, one at a time. The machine's programs
// are told last, when everything is in place.
//
//	idle ──request──▶ thawing ──▶ placing ──▶ running ──exit, or timeout──▶ telling ──▶ answered
//
// thawing waits for a freeze that is under way, and for nothing at other times. placing is done
// at once: network, names, connections. running is the command of the configuration, if it has
// one. Frozen commands go on in telling. The answer waits until the child that has frozen them is
// gone.
type clone struct {
	service *Service
	busy    bool // not idle
	plain   bool // a restore asked, and is answered by done
	wanted  *identity
	result  framing.IdentityResult
	err     error // of the first part that failed
	waiter  wire.Waiter
	seq     uint32
	root    etc.Root
}

var errCloning = &sys.WordedError{Errno: unix.EBUSY, Words: "identity: another is not answered yet"}

// request handles an identity.
func (o *clone) request(c *wire.Conn, p *framing.Part) error {
	s := o.service
	m, err := framing.ParseIdentity(p.Data)
	if err != nil {
		return err
	}
	c.Heavy()
	s.Garbage.Collect(8*len(p.Data) + errorGarbage)
	var wanted *identity
	switch {
	case len(m.Entropy) > sys.MaxEntropy:
		err = errEntropy("identity")
	case o.busy:
		err = errCloning
	case s.stopping:
		err = ErrGoingDown
	default:
		wanted, err = parseIdentity(m.Words)
	}
	if err != nil {
		c.Done(p.Seq, s.restores.epoch, err)
		return nil
	}
	o.wanted, o.result, o.err = wanted, framing.IdentityResult{}, nil
	// A program that reads the right time must not get the old randomness.
	if len(m.Entropy) > 0 {
		o.part("entropy", 0, sys.AddEntropy(m.Entropy))
	}
	if m.UnixNS != 0 {
		o.part("clock", 0, sys.SetClock(m.UnixNS))
	}
	s.restores.report()
	o.begin(c, p.Seq, false)
	return nil
}

// begin begins the work for the request seq of c. A restore is plain, and has no words.
func (o *clone) begin(c *wire.Conn, seq uint32, plain bool) {
	s := o.service
	o.busy, o.plain, o.seq = true, plain, seq
	o.waiter.Wait(c, seq)
	if plain {
		o.wanted, o.result, o.err = &identity{}, framing.IdentityResult{}, nil
	}
	o.result.Epoch = s.restores.epoch
	switch f := &s.freezer; f.state {
	case frozen:
		o.thawed(f.thawDisk())
	case freezing:
		f.cancelled, f.after = true, o.thawed
	default:
		o.place()
	}
}

// part records what became of a part.
func (o *clone) part(name string, value uint64, err error) {
	reason := ""
	if err != nil {
		reason = sys.Clip(err.Error(), wire.MaxText)
		if o.err == nil {
			o.err = err
		}
		o.service.Log.Warn("restore incomplete", "part", name, "error", reason)
	}
	o.result.Add(name, uint32(sys.ErrnoOf(err)), value, reason)
}

// thawed goes on after the file system was thawed, or was not.
func (o *clone) thawed(err error) {
	o.part("thaw", 0, err)
	o.place()
}

// place gives the machine its identity, and starts the command.
func (o *clone) place() {
	s, id := o.service, o.wanted
	held := error(nil)
	if s.Disk.Held() {
		held = errFrozen
	}
	var drop func()
	var dropped int
	var notDropped error
	if id.drop {
		drop = func() { dropped, notDropped = s.Network.DropConnections() }
	}
	if id.networked {
		failed, err := 0, held
		if err == nil {
			// While the interfaces are down, no far end is told: it may be the other
			// twin's too.
			failed, err = s.Network.Apply(&id.network, drop)
		}
		o.part("network", uint64(failed), err)
	}
	if id.hostname != "" {
		err := held
		if err == nil {
			err = s.Network.Rename(id.hostname)
		}
		o.part("hostname", 0, err)
	}
	if id.machineID != "" {
		made, err := "", held
		if err == nil {
			made, err = o.root.SetMachineID(id.machineID)
		}
		if err == nil {
			o.result.Add("machine-id", 0, 0, made)
		} else {
			o.part("machine-id", 0, err)
		}
	}
	if id.timezone != "" {
		err := held
		if err == nil {
			err = o.root.SetTimezone(id.timezone)
		}
		o.part("timezone", 0, err)
	}
	if id.drop {
		if before := dropped; notDropped == nil { // all, or those that are new since
			drop()
			dropped += before
		}
		o.part("connections", uint64(dropped), notDropped)
	}
	if s.Notice.Command.Len() == 0 || s.stopping {
		o.tell()
	} else {
		s.Notice.run(o)
	}
}

// ran goes on after the command.
func (o *clone) ran(code int32, err error) {
	o.part("command", uint64(uint32(code)), err)
	o.tell()
}

// tell tells the machine's programs.
func (o *clone) tell() {
	s := o.service
	if s.generation.fd != 0 {
		err := s.generation.write(s.restores.epoch)
		o.part("generation", s.restores.epoch, sys.Wrap("write", s.Generation, err))
	}
	s.freezer.thawRest(o.finish)
}

// finish signals the workload and answers.
func (o *clone) finish(error) {
	s := o.service
	if sig := s.Notice.Signal; sig != 0 && s.Signal != nil {
		var err error
		if !s.Signal(sig) {
			err = sys.NewError("signal", "workload", unix.ESRCH)
		}
		o.part("workload", 0, err)
	}
	result, err := o.result, o.err
	o.wanted, o.result, o.err, o.busy = nil, framing.IdentityResult{}, nil, false
	o.waiter.Value = result.Epoch
	if c := o.waiter.Conn(); c != nil && !o.plain {
		o.waiter.Forget(c)
		c.ReplyLater(framing.AppendIdentityResult(nil, o.seq, result))
		c.Sent()
	} else {
		o.waiter.Answer(err)
	}
}
