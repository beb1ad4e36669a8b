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
	// PipeGrace is how long a result waits after the exit for the pipes to end.
	PipeGrace = 100 * time.Millisecond
	// KillGrace is how long a result waits for the exit after a kill. A process in uninterruptible
	// sleep does not delay its result: that comes within a second of the timeout.
	KillGrace = 700 * time.Millisecond
)

// Process is a process that a host has started by any message, with all its descendants. It is a
// child in a cgroup of its own. Its Owner contains it and decides its result.
type Process struct {
	Owner Owner
	Kind  framing.ProcessKind
	// Patience is how long the result waits for the pipes after the exit, within the deadline. At 0
	// that is PipeGrace, and the deadline does not count after the exit.
	Patience time.Duration
	// Box is the cgroup in which it runs, or nil.
	Box *contain.Box

	table     *Table
	child     reactor.Child
	pid       int
	name      [framing.MaxCommand]byte // the beginning of the command line
	nameLen   uint8                    // in bytes
	startedAt time.Duration            // reactor.Now
	runTime   time.Duration            // from the start to the exit

	deadline reactor.Timer
	grace    reactor.Timer // until the result no longer waits for the pipes, or for the exit
	status   unix.WaitStatus
	exited   bool
	timedOut bool
	finished bool // the result is made, and waits for nothing
	oomKills uint32
}

// WaitForEnd is a Patience without limit.
const WaitForEnd time.Duration = 1<<63 - 1

// Owner receives the events of a process and decides its result.
type Owner interface {
	// Started is called when the program has been executed.
	Started()
	// NotStarted is called instead of Exited if the program was not executed. No process is left.
	NotStarted(f *Failure)
	// Exited is called when the process has been reaped. Its descendants may still run in the
	// cgroup.
	Exited()
	// Overdue is called when the grace is over: for the pipes after an exit, or for the exit after
	// a kill.
	Overdue()
	// SignalGroup sends a signal to the process group.
	SignalGroup(sig unix.Signal)
	// Cancel kills the process and all its descendants at a host's request.
	Cancel()
	// Record returns the entry for a process list, without usage.
	Record() framing.Process
	reactor.Failer
}

// AddName adds a word to the command line that a list shows.
func (p *Process) AddName(word []byte) {
	if p.nameLen > 0 && int(p.nameLen) < len(p.name) {
		p.name[p.nameLen] = ' '
		p.nameLen++
	}
	p.nameLen += uint8(copy(p.name[p.nameLen:], word))
}

// NameLen returns the length of that command line, in bytes.
func (p *Process) NameLen() int { return int(p.nameLen) }

// PID returns the process ID. After the exit the kernel may give it to another process.
func (p *Process) PID() int { return p.pid }

// Pidfd returns the pidfd of the running process; 0 without one.
func (p *Process) Pidfd() int { return p.child.Pidfd() }

// HasExited reports whether the process has been reaped.
func (p *Process) HasExited() bool { return p.exited }

// Status returns the wait status; zero before the exit.
func (p *Process) Status() unix.WaitStatus { return p.status }

// Usage returns the resource usage at the exit.
func (p *Process) Usage() reactor.Usage { return p.child.Usage() }

// TimedOut reports whether the deadline killed the process.
func (p *Process) TimedOut() bool { return p.timedOut }

// Victim says which of its processes was killed for lack of memory; empty if that is not known.
func (p *Process) Victim() string { return p.table.contain.Victim(p.Box, p.pid) }

// OOMKills returns how many of the command's processes the OOM killer killed.
func (p *Process) OOMKills() uint32 { return p.oomKills }

// Elapsed returns the time from the start to the exit, or to now.
func (p *Process) Elapsed() time.Duration {
	if p.exited {
		return p.runTime
	}
	return reactor.Now() - p.startedAt
}

// Finish stops all timers, because the result is made and waits for nothing.
func (p *Process) Finish() {
	p.finished = true
	p.grace.Stop()
	p.deadline.Stop()
}

// Finished reports whether the result is made. The process itself may still run.
func (p *Process) Finished() bool { return p.finished }

// TakeBox takes a cgroup for the process, if the pool has one.
func (p *Process) TakeBox(t *Table) {
	p.table = t
	p.Box = t.contain.Take()
}

// TakeCountingBox is TakeBox for a process whose I/O is to be counted.
func (p *Process) TakeCountingBox(t *Table) {
	p.table = t
	p.Box = t.contain.TakeCounting()
}

// TakeAside takes a cgroup that is not frozen when those of all commands are, if there is one.
func (p *Process) TakeAside(t *Table) {
	p.table = t
	p.Box = t.contain.TakeAside()
}

// Spawn forks the process into its Box, which it takes first unless the process has one. If only
// the cgroup makes the fork fail, Spawn forks without one. It does not wait for the execve.
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
	t.watch()
	return nil
}

func (p *Process) fork(spec *reactor.Command) error {
	pool, loop := p.table.contain, p.table.loop
	if spec.OOMScore == "" {
		spec.OOMScore = pool.OOMScore()
	}
	err := loop.Spawn(&p.child, spec, p)
	if err == nil || p.Box == nil {
		pool.Works()
		return err
	}
	if sys.Exhausted(err) {
		return err // memory or descriptors ran out, so the cgroup is not at fault
	}
	p.ReturnBox()
	spec.Cgroup = 0
	if again := loop.Spawn(&p.child, spec, p); again != nil {
		return again
	}
	pool.Blame(err)
	return nil
}

// ReturnBox returns the cgroup to the pool. Calling it again does nothing.
func (p *Process) ReturnBox() {
	if p.table != nil {
		p.table.contain.Give(p.Box)
		p.Box = nil
	}
}

// SpawnInside forks a child into the cgroup of the process, and lists it nowhere.
func (p *Process) SpawnInside(
	child *reactor.Child, spec *reactor.Command, h reactor.ChildHandler,
) error {
	if p.Box != nil {
		spec.Cgroup = p.Box.Dir()
	}
	spec.OOMScore = p.table.contain.OOMScore()
	return p.table.loop.Spawn(child, spec, h)
}

// Has reports whether another process is one of its descendants, or the process itself.
func (p *Process) Has(pid int) bool { return p.table.contain.Has(p.Box, p.pid, pid) }

// SetDeadline kills the process ms milliseconds from now; 0 sets no deadline.
func (p *Process) SetDeadline(ms uint32) {
	if ms > 0 {
		p.table.loop.Start(&p.deadline, time.Duration(ms)*time.Millisecond, p)
	}
}

// ExtendGrace calls the owner's Overdue again after another PipeGrace.
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
	t.watch()
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

// Expired implements [reactor.TimerHandler], for the deadline and the grace.
func (p *Process) Expired(t *reactor.Timer) {
	if !p.exited {
		// If the agent or the machine was stopped, the exit may be older than the deadline.
		if p.child.Reap(); p.exited {
			return
		}
	}
	if t == &p.grace || p.exited {
		p.Owner.Overdue()
		return
	}
	p.timedOut = true
	p.table.loop.Start(&p.grace, KillGrace, p)
	p.Kill()
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(sig unix.Signal) { p.child.Signal(sig) }

// SignalGroup sends a signal to the process group.
func (p *Process) SignalGroup(sig unix.Signal) { p.child.SignalGroup(sig) }

// SignalTree sends a signal to the process and all its descendants.
func (p *Process) SignalTree(sig unix.Signal) { p.table.contain.Signal(p.Box, p.pid, sig) }

// Kill sends SIGKILL to the process and all its descendants.
func (p *Process) Kill() {
	if p.Box != nil {
		p.child.Signal(unix.SIGKILL) // first, because the result waits for this exit
	}
	p.table.contain.Kill(p.Box, p.pid)
	p.child.SignalGroup(unix.SIGKILL) // catches a process that left the cgroup
}

// Abort kills the process now. The result then waits for the exit and the pipes as after a timeout.
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

// ExitCode returns the exit code as a shell reports it; 124 after a timeout.
func (p *Process) ExitCode() int32 {
	switch {
	case p.timedOut:
		return 124
	case p.status.Signaled():
		return 128 + int32(p.status.Signal())
	}
	return int32(p.status.ExitStatus())
}

// Record returns the parts of a list entry that every kind of process has.
func (p *Process) Record() framing.Process {
	age := uint64((reactor.Now() - p.startedAt).Microseconds())
	return framing.Process{
		PID: uint32(p.pid), Kind: p.Kind, Exited: p.exited, AgeUS: age, Command: p.name[:p.nameLen],
	}
}

// AddUsage adds to a record what the process and its descendants use, if their cgroup counts it.
func (p *Process) AddUsage(r *framing.Process) {
	if p.Box != nil {
		r.CPUUS, r.Memory, _ = p.Box.Using()
		r.Processes = p.Box.Count()
	}
}

// release takes the process off the table and lets it run on.
func (p *Process) release() {
	p.table.running = sys.Remove(p.table.running, p)
	p.deadline.Stop()
	p.grace.Stop()
	p.ReturnBox()
}
