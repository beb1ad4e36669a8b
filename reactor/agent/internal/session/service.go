package session

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureProcesses | framing.FeatureTerminals | framing.FeatureManners |
	framing.FeatureConfine | framing.FeatureLook

// holdBuffers is the number of rings that a kept process may hold: one for each output.
const holdBuffers = 2

// startGarbage is how much heap garbage a start makes, in bytes, besides copies of its payload.
const startGarbage = 3 << 10

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Table   *launch.Table
	Env     *launch.Env
	// Null is a descriptor of /dev/null, the stdin of processes that have none.
	Null int
	// Root reports whether the agent is root, and so may start processes as any user.
	Root bool
	// Kept is the most processes at a time that outlive their connection.
	Kept uint32
	// Places is the most Places.
	Places int
	// Changed is called when AllReported may answer differently.
	Changed func()
}

// Service serves the requests about processes: start, attach, signal, release and processes.
type Service struct {
	Config
	holds        *reactor.Pool // rings of outputs, and buffers of input
	inputBuffers int           // how many of holds are buffers of input
	sessions     []*session    // those that a host can ask for
}

// NewService registers the handlers. The error is a *reactor.Error.
func NewService(cfg Config) (*Service, error) {
	svc := &Service{Config: cfg}
	var err error
	if svc.holds, err = reactor.NewPool(svc.buffers()); err != nil {
		return nil, err
	}
	svc.Server.HandleParts(framing.TypeStart, svc.startParts)
	svc.Server.Handle(framing.TypeAttach, svc.attach)
	svc.Server.Handle(framing.TypeLook, svc.look)
	svc.Server.Handle(framing.TypeSignal, svc.signal)
	svc.Server.HandleEmpty(framing.TypeRelease, svc.release)
	svc.Server.HandleEmpty(framing.TypeProcesses, svc.processes)
	svc.Server.HandleEmpty(framing.TypeAccount, account)
	return svc, nil
}

// account handles an account: the receipts of the connection have I/O from now on.
func account(c *wire.Conn, p *framing.Part) error {
	c.Accounts = true
	c.Done(p.Seq, 0, nil)
	return nil
}

// buffers returns how many buffers holds has.
func (svc *Service) buffers() int {
	return holdBuffers*(int(svc.Kept)+placeSessions*svc.Places) + int(svc.Table.Limit)
}

// AllReported reports whether every process has exited, and every connected host has its exited.
func (svc *Service) AllReported() bool {
	for _, p := range svc.sessions {
		if !p.process.HasExited() || p.conn != nil && p.state != reported || p.owesHost() {
			return false
		}
	}
	return true
}

// Held returns what the service holds: processes that a host may ask for, and buffers of their
// streams.
func (svc *Service) Held() (processes, buffers int) {
	return len(svc.sessions), svc.buffers() - svc.holds.Free()
}

// Drop kills all processes.
func (svc *Service) Drop() {
	for len(svc.sessions) > 0 {
		svc.sessions[0].close()
	}
}

// Close releases the buffers. Call it after Drop.
func (svc *Service) Close() { svc.holds.Close() }

// CountKept returns the number of processes that a host has kept.
func (svc *Service) CountKept() (n int) {
	for _, p := range svc.sessions {
		if p.kept() && p.watcher == nil {
			n++
		}
	}
	return n
}

// find returns the session with that id, or nil.
func (svc *Service) find(id uint64) *session {
	for _, p := range svc.sessions {
		if p.id == id {
			return p
		}
	}
	return nil
}

var (
	errNoStdout = &sys.WordedError{
		Errno: unix.EINVAL, Words: "attach process: offset of stdout is not held",
	}
	errNoStderr = &sys.WordedError{
		Errno: unix.ERANGE, Words: "attach process: offset of stderr is not held",
	}
)

// attach handles an attach.
func (svc *Service) attach(c *wire.Conn, p *framing.Part) error {
	a, err := framing.ParseAttach(p.Data)
	if err != nil {
		return err
	}
	to := svc.find(a.ID)
	switch {
	case to == nil:
		c.Done(p.Seq, 0, sys.NewError("attach", "process", unix.ESRCH))
	case !to.out[0].canResume(a.Output):
		to.pause()
		c.Done(p.Seq, to.out[0].acked, errNoStdout)
	case !to.out[1].canResume(a.Errors):
		to.pause()
		c.Done(p.Seq, to.out[1].acked, errNoStderr)
	case c.MayOpen(p.Seq):
		to.attach(c, p.Seq, &a)
	}
	return nil
}

// release handles a release. It concerns a channel and has no reply.
func (svc *Service) release(c *wire.Conn, p *framing.Part) error {
	if to, ok := c.Channel(p.Seq).(*session); ok && to.state == reported {
		to.release()
	}
	return nil
}

// signal handles a signal.
func (svc *Service) signal(c *wire.Conn, p *framing.Part) error {
	r, err := framing.ParseSignal(p.Data)
	if err == nil {
		c.Done(p.Seq, 0, svc.sendSignal(&r))
	}
	return err
}

// maxSignal is the highest signal number; signal(7).
const maxSignal = 64

// sendSignal sends the signal that r names. The error wraps EINVAL or ESRCH.
func (svc *Service) sendSignal(r *framing.Signal) error {
	sig := unix.Signal(r.Signal)
	if r.Signal > maxSignal || r.Scope > framing.ScopeTree {
		return sys.NewError("kill", "process", unix.EINVAL)
	}
	p := svc.target(r)
	if p == nil {
		return sys.NewError("kill", "process", unix.ESRCH)
	}
	switch r.Scope {
	case framing.ScopeGroup:
		p.Owner.SignalGroup(sig)
	case framing.ScopeProcess:
		p.Signal(sig)
	case framing.ScopeTree:
		if sig == unix.SIGKILL {
			p.Owner.Cancel()
		} else {
			p.SignalTree(sig)
		}
	}
	return nil
}

// target returns the running process that r names, or nil.
func (svc *Service) target(r *framing.Signal) *launch.Process {
	if r.ID == 0 {
		return svc.Table.Find(r.PID)
	}
	if p := svc.find(r.ID); p != nil && !p.process.HasExited() {
		return &p.process
	}
	return nil
}

// mayStart returns nil, or the error of a start that would exceed a limit.
func (svc *Service) mayStart(req *framing.Start) error {
	switch {
	case svc.Table.Full():
		return svc.Table.ErrFull()
	case req.KeepMS != 0 && svc.CountKept() >= int(svc.Kept):
		return errors.New("too many kept processes (limit " + sys.Num(svc.Kept) + ")")
	}
	return nil
}
