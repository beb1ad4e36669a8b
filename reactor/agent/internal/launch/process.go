package launch

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

const (
	// PipeGrace is how long after a command's exit its result waits for the pipes' end.
	PipeGrace = 100 * time.Millisecond
	// KillGrace is how long after a timeout the result waits for the exit. A process that cannot die must
	// not hold it up: the result comes within a second of the timeout.
	KillGrace = 700 * time.Millisecond
)

// Process is a process that a host has started, by any message: a child in a cgroup of its own, with all
// that it becomes. It is part of its Owner.
type Process struct {
	Owner Owner
	Kind  framing.ProcessKind
	// Patience is how long after its exit the end of its pipes is waited for, within its deadline. 0 is
	// PipeGrace, whatever the deadline.
	Patience time.Duration
	// Box is the cgroup that it runs in, or nil.
	Box *contain.Box

	table     *Table
	child     reactor.Child
	pid       int
	name      [framing.MaxCommand]byte // the beginning of its command
	nameLen   uint8                    // bytes of it
	startedAt time.Duration            // reactor.Now
	runTime   time.Duration            // from then to the exit

	deadline reactor.Timer
	grace    reactor.Timer
	status   unix.WaitStatus
	exited   bool
	timedOut bool
	finished bool // its result is: it waits for nothing any more
	oomKills uint32
}

// WaitForEnd is a Patience without limit.
const WaitForEnd time.Duration = 1<<63 - 1

// Owner is what a process is part of.
type Owner interface {
	// Started is called when its program has been executed.
	Started()
	// NotStarted is called instead of Gone when its program was not executed. Nothing of it is left.
	NotStarted(f *Failure)
	// Gone is called when it has exited. It is not in its cgroup any more, but what it left running is.
	Exited()
	// Overdue is called when the end of its pipes, or after a kill its exit, has been waited for long
	// enough.
	Overdue()
	// SignalGroup sends a signal to its process group.
	SignalGroup(sig unix.Signal)
	// Cancel kills all that it has become, because a host asks for it.
	Cancel()
	// Record returns what a list says of it, but for what it uses.
	Record() framing.Process
	reactor.Failer
}

// AddName adds a word to the name that a list shows.
func (p *Process) AddName(word []byte) {
	if p.nameLen > 0 && int(p.nameLen) < len(p.name) {
		p.name[p.nameLen] = ' '
		p.nameLen++
	}
	p.nameLen += uint8(copy(p.name[p.nameLen:], word))
}

// NameLen returns the length of the name, in bytes.
func (p *Process) NameLen() int { return int(p.nameLen) }

// PID returns its process ID, which another may have once it has exited.
func (p *Process) PID() int { return p.pid }

// Exited reports whether it has been reaped.
func (p *Process) HasExited() bool { return p.exited }

// Status returns its wait status. It is zero before the exit.
func (p *Process) Status() unix.WaitStatus { return p.status }

// Usage returns what it had used when it was reaped.
func (p *Process) Usage() reactor.Usage { return p.child.Usage() }

// TimedOut reports whether it was killed at its deadline.
func (p *Process) TimedOut() bool { return p.timedOut }

// OOMKills returns how many of its processes were killed for want of memory.
func (p *Process) OOMKills() uint32 { return p.oomKills }

// Elapsed returns the time from its start to its exit, or to now.
func (p *Process) Elapsed() time.Duration {
	if p.exited {
		return p.runTime
	}
	return reactor.Now() - p.startedAt
}

// Decide says that its result is decided: it waits for nothing any more.
func (p *Process) Finish() {
	p.finished = true
	p.grace.Stop()
	p.deadline.Stop()
}

// Decided reports whether its result is decided.
func (p *Process) Finished() bool { return p.finished }

// TakeBox takes a cgroup for the process, if there are any.
func (p *Process) TakeBox(t *Table) {
	p.table = t
	p.Box = t.contain.Take()
}

// Spawn forks the process into its Box, or into a new one if it has none. If the cgroup is what fails, it is
// forked without one. Spawn does not wait until the program is executed.
func (p *Process) Spawn(t *Table, spec *reactor.Command) error {
	if p.Box == nil {
		p.TakeBox(t)
	}
	if p.Box != nil {
		spec.Cgroup = p.Box.Dir()
	}
	p.startedAt = reactor.Now()
	if err := p.fork(spec); err != nil {
		p.ReturnBox()
		spec.Cgroup = 0
		return err
	}
	p.pid = p.child.PID()
	t.running = append(t.running, p)
	return nil
}

func (p *Process) fork(spec *reactor.Command) error {
	pool, loop := p.table.contain, p.table.loop
	pool.BeforeFork()
	defer pool.AfterFork()
	err := loop.Spawn(&p.child, spec, p)
	if err == nil || p.Box == nil {
		pool.Works()
		return err
	}
	if sys.Exhausted(err) {
		return err // the cgroup is not to blame, and the next start may find what this one lacked
	}
	p.ReturnBox()
	spec.Cgroup = 0
	if again := loop.Spawn(&p.child, spec, p); again != nil {
		return again
	}
	pool.Blame(err)
	return nil
}

// LeaveBox gives its cgroup back.
func (p *Process) ReturnBox() {
	if p.table != nil {
		p.table.contain.Give(p.Box)
		p.Box = nil
	}
}

// Limit has it killed after ms milliseconds, unless that is 0.
func (p *Process) SetDeadline(ms uint32) {
	if ms > 0 {
		p.table.loop.Start(&p.deadline, time.Duration(ms)*time.Millisecond, p)
	}
}

// WaitMore has the owner's Overdue called again after another PipeGrace.
func (p *Process) ExtendGrace() { p.table.loop.Start(&p.grace, PipeGrace, p) }

// Started implements [reactor.StartHandler].
func (p *Process) Started() { p.Owner.Started() }

// Exited implements [reactor.ChildHandler].
func (p *Process) Exited(status unix.WaitStatus) {
	t := p.table
	p.exited, p.status = true, status
	p.runTime = reactor.Now() - p.startedAt
	if p.Patience == 0 {
		p.deadline.Stop()
	}
	t.running = sys.Remove(t.running, p)
	if err := p.child.Failure(); err != nil && !p.finished {
		p.grace.Stop()
		p.ReturnBox()
		p.Owner.NotStarted(NewFailure(err))
		t.changed()
		return
	}
	if status != 0 || p.Kind == framing.KindStart {
		p.oomKills = p.Box.OutOfMemory()
	}
	switch {
	case p.finished:
	case p.Patience == 0 || p.timedOut:
		t.loop.Start(&p.grace, PipeGrace, p)
	case p.Patience == WaitForEnd:
		p.grace.Stop()
	default:
		t.loop.Start(&p.grace, p.Patience, p)
	}
	p.Owner.Exited()
	t.changed()
}

// Expired implements [reactor.TimerHandler]: its deadline has passed, or its pipes had time enough.
func (p *Process) Expired(t *reactor.Timer) {
	if !p.exited {
		// The agent may have been stopped, or the machine, and more have ended meanwhile than one wait
		// tells of.
		if p.child.Reap(); p.exited {
			return
		}
	}
	if t == &p.grace || p.exited {
		p.Owner.Overdue()
		return
	}
	p.timedOut = true
	p.table.loop.Start(&p.grace, KillGrace, p) // a process that cannot die does not hold up its result
	p.Kill()
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(sig unix.Signal) { p.child.Signal(sig) }

// SignalGroup sends a signal to its process group.
func (p *Process) SignalGroup(sig unix.Signal) { p.child.SignalGroup(sig) }

// SignalTree sends a signal to all that it has become.
func (p *Process) SignalTree(sig unix.Signal) { p.table.contain.Signal(p.Box, p.pid, sig) }

// Kill kills all that it has become.
func (p *Process) Kill() {
	if p.Box != nil {
		p.child.Signal(unix.SIGKILL) // first, because its exit is waited for, and not theirs
	}
	p.table.contain.Kill(p.Box, p.pid)
	p.child.SignalGroup(unix.SIGKILL) // it may have left its cgroup
}

// Abort kills it at once: its result does not wait for its pipes any longer than after a timeout.
func (p *Process) Abort() {
	p.Patience = 0
	p.deadline.Stop()
	if !p.finished {
		p.table.loop.Start(&p.grace, KillGrace, p)
	}
	p.Kill()
}

// Failed implements [reactor.Failer].
func (p *Process) Failed(value any, stack []byte) { p.Owner.Failed(value, stack) }

// ExitCode returns its exit code as a shell gives it; 124 after a timeout.
func (p *Process) ExitCode() int32 {
	switch {
	case p.timedOut:
		return 124
	case p.status.Signaled():
		return 128 + int32(p.status.Signal())
	}
	return int32(p.status.ExitStatus())
}

// Record returns what a list says of every process.
func (p *Process) Record() framing.Process {
	age := uint64((reactor.Now() - p.startedAt).Microseconds())
	return framing.Process{PID: uint32(p.pid), Kind: p.Kind, Exited: p.exited, AgeUS: age, Command: p.name[:p.nameLen]}
}

// Measure adds to a record what all that it became uses, where that is known.
func (p *Process) AddUsage(r *framing.Process) {
	if p.Box != nil {
		r.CPUUS, r.Memory, _ = p.Box.Using()
		r.Processes = p.Box.Count()
	}
}

// leave lets the process run on without the agent.
func (p *Process) release() {
	p.table.running = sys.Remove(p.table.running, p)
	p.deadline.Stop()
	p.grace.Stop()
	p.ReturnBox()
}
