package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// process is what a host has run, whatever message asked for it: a child in a cgroup of its own, with all that it becomes. It is part
// of a command or of a session.
type process struct {
	agent  *Agent
	owner  processOwner
	kind   framing.ProcessKind
	pid    int
	name   [framing.MaxCommand]byte // the beginning of its command
	named  uint8                    // bytes of it
	began  time.Duration            // reactor.Now
	took   time.Duration            // from then to the exit
	child  reactor.Child
	cgroup *contain.Box // what it runs in, or nil

	deadline reactor.Timer
	grace    reactor.Timer
	patience time.Duration // that its output is waited for after its exit, within the deadline; 0 is pipeGrace
	status   unix.WaitStatus
	exited   bool
	timedOut bool
	oomKills uint32 // processes of it that were killed for want of memory
	decided  bool   // its result is: it waits for nothing any more
}

// waitForEnd is a patience without limit.
const waitForEnd time.Duration = 1<<63 - 1

// processOwner is what a process is part of.
type processOwner interface {
	// started is called when its program has been executed.
	started()
	// notStarted is called in place of gone when its program was not executed. Nothing of it is left.
	notStarted(f *startFailure)
	// gone is called when it has exited. It is not in its cgroup any more, but what it left running is.
	gone()
	// overdue is called when the end of its pipes, or after a kill its exit, has been waited for long enough.
	overdue()
	// signalGroup sends a signal to its process group.
	signalGroup(sig unix.Signal)
	// cancel kills all that it has become, since a host wants it.
	cancel()
	// record is what a list says of it, but for what it uses.
	record() framing.Process
	reactor.Failer
}

// call begins the name that a list shows, and more adds to it, after a space.
func (p *process) call(word []byte) { p.named = uint8(copy(p.name[:], word)) }

func (p *process) more(word []byte) {
	if int(p.named) < len(p.name) {
		p.name[p.named] = ' '
		p.named++
		p.named += uint8(copy(p.name[p.named:], word))
	}
}

// spawn forks it into a cgroup of its own, which it may have already, and without one if that is what cannot be done. It does not wait for its
// program to be executed.
func (p *process) spawn(spec *reactor.Command) error {
	a := p.agent
	if p.cgroup == nil {
		p.cgroup = a.contain.Take()
	}
	if p.cgroup != nil {
		spec.Cgroup = p.cgroup.Dir()
	}
	p.began = reactor.Now()
	err := p.fork(spec)
	if err != nil {
		p.leaveCgroup()
		spec.Cgroup = 0
		return err
	}
	p.pid = p.child.PID()
	a.running = append(a.running, p)
	return nil
}

func (p *process) fork(spec *reactor.Command) error {
	a := p.agent
	a.contain.BeforeFork()
	defer a.contain.AfterFork()
	err := a.loop.Spawn(&p.child, spec, p)
	if err == nil || p.cgroup == nil {
		a.contain.Works()
		return err
	}
	if sys.Exhausted(err) {
		return err // which is not the cgroup's fault, and the next try might be luckier
	}
	p.leaveCgroup()
	spec.Cgroup = 0
	if again := a.loop.Spawn(&p.child, spec, p); again != nil {
		return again
	}
	a.contain.Blame(err)
	return nil
}

// leaveCgroup gives its cgroup back.
//
//go:noinline
func (p *process) leaveCgroup() {
	p.agent.contain.Give(p.cgroup)
	p.cgroup = nil
}

// limitTime has it killed after ms milliseconds, if that is not 0.
func (p *process) limitTime(ms uint32) {
	if ms > 0 {
		p.agent.loop.Start(&p.deadline, time.Duration(ms)*time.Millisecond, p)
	}
}

// Started implements [reactor.StartHandler].
func (p *process) Started() { p.owner.started() }

// Exited implements [reactor.ChildHandler].
func (p *process) Exited(status unix.WaitStatus) {
	a := p.agent
	p.exited, p.status = true, status
	p.took = reactor.Now() - p.began
	if p.patience == 0 {
		p.deadline.Stop()
	}
	a.running = remove(a.running, p)
	if err := p.child.Failure(); err != nil && !p.decided {
		p.grace.Stop()
		p.leaveCgroup()
		p.owner.notStarted(failedStart(err))
		a.stepDown()
		return
	}
	if status != 0 || p.kind == framing.KindStart {
		p.oomKills = p.cgroup.OutOfMemory()
	}
	switch {
	case p.decided:
	case p.patience == 0 || p.timedOut:
		a.loop.Start(&p.grace, pipeGrace, p)
	case p.patience == waitForEnd:
		p.grace.Stop()
	default:
		a.loop.Start(&p.grace, p.patience, p)
	}
	p.owner.gone()
	a.stepDown()
}

// Expired implements [reactor.TimerHandler]: it had time enough, or its pipes had.
func (p *process) Expired(t *reactor.Timer) {
	if !p.exited {
		// The agent may have been stopped, or the machine, and more have ended meanwhile than one wait tells of.
		if p.child.Reap(); p.exited {
			return
		}
	}
	if t == &p.grace || p.exited {
		p.owner.overdue()
		return
	}
	p.timedOut = true
	p.agent.loop.Start(&p.grace, killGrace, p) // a process that cannot die does not hold its result up
	p.kill()
}

// signalGroup implements [processOwner] for most of them.
func (p *process) signalGroup(sig unix.Signal) { p.child.SignalGroup(sig) }

// cancel implements [processOwner] for what has no word for it: it is killed.
func (p *process) cancel() { p.kill() }

// kill kills all that it has become.
func (p *process) kill() {
	if p.cgroup != nil {
		p.child.Signal(unix.SIGKILL) // first, because its exit is waited for and not theirs
	}
	p.agent.contain.Kill(p.cgroup, p.pid)
	p.child.SignalGroup(unix.SIGKILL) // it may have left its cgroup
}

// Failed implements [reactor.Failer].
func (p *process) Failed(value any, stack []byte) { p.owner.Failed(value, stack) }

// exitCode is the code as a shell gives it.
func (p *process) exitCode() int32 {
	switch {
	case p.timedOut:
		return 124
	case p.status.Signaled():
		return 128 + int32(p.status.Signal())
	}
	return int32(p.status.ExitStatus())
}

// leave lets go of what runs on without the agent.
func (p *process) leave() {
	p.agent.running = remove(p.agent.running, p)
	p.deadline.Stop()
	p.grace.Stop()
	p.leaveCgroup()
}
