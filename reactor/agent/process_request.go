package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const processFeatures = framing.FeatureProcesses | framing.FeatureTerminals | framing.FeatureManners

// processRequest handles a whole frame about processes, and reports whether it is one.
func (c *conn) processRequest(p *framing.Part) bool {
	switch p.Type {
	case framing.TypeStart:
		c.start(p.Seq, p.Data)
	case framing.TypeAttach:
		c.attach(p)
	case framing.TypeSignal:
		c.signal(p)
	case framing.TypeRelease:
		c.release(p)
	case framing.TypeProcesses:
		c.send(newProcessList(c, p.Seq))
	default:
		return false
	}
	return true
}

func (c *conn) attach(p *framing.Part) {
	a, err := framing.ParseAttach(p.Data)
	if err != nil {
		c.replyError(p.Seq, err.Error())
		return
	}
	s := c.agent.session(a.ID)
	switch {
	case s == nil:
		c.done(p.Seq, 0, sys.NewError("attach", "process", unix.ESRCH))
	case !s.out[0].holds(a.Output):
		c.done(p.Seq, s.out[0].acked, &sys.WordedError{Errno: unix.EINVAL, Words: "attach process: offset of stdout is not held"})
	case !s.out[1].holds(a.Errors):
		c.done(p.Seq, s.out[1].acked, &sys.WordedError{Errno: unix.ERANGE, Words: "attach process: offset of stderr is not held"})
	case c.mayOpen(p.Seq):
		s.attach(c, p.Seq, &a)
	}
}

// release is about a channel, and no request.
func (c *conn) release(p *framing.Part) {
	if s, ok := c.channel(p.Seq).(*session); ok && s.told {
		s.release()
	}
}

func (c *conn) signal(p *framing.Part) {
	r, err := framing.ParseSignal(p.Data)
	if err != nil {
		c.replyError(p.Seq, err.Error())
		return
	}
	c.done(p.Seq, 0, c.agent.signal(&r))
}

// maxSignal is the highest signal there is.
const maxSignal = 64

// signal sends a signal.
func (a *Agent) signal(r *framing.Signal) error {
	sig := unix.Signal(r.Signal)
	if r.Signal > maxSignal || r.Scope > framing.ScopeTree {
		return sys.NewError("kill", "process", unix.EINVAL)
	}
	p := a.target(r)
	if p == nil {
		return sys.NewError("kill", "process", unix.ESRCH)
	}
	switch r.Scope {
	case framing.ScopeGroup:
		p.owner.signalGroup(sig)
	case framing.ScopeProcess:
		p.child.Signal(sig)
	case framing.ScopeTree:
		if sig == unix.SIGKILL {
			p.owner.cancel()
		} else {
			p.signalTree(sig)
		}
	}
	return nil
}

// target is the running process that a signal names, or nil.
func (a *Agent) target(r *framing.Signal) *process {
	if r.ID != 0 {
		if s := a.session(r.ID); s != nil && !s.exited {
			return &s.process
		}
		return nil
	}
	for _, p := range a.running {
		if p.pid == int(r.PID) && p.kind != framing.KindStart {
			return p
		}
	}
	return nil
}

// signalTree sends a signal to all that a process has become.
func (p *process) signalTree(sig unix.Signal) {
	p.agent.contain.Signal(p.cgroup, p.pid, sig)
}
