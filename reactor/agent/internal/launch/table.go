package launch

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// Table has the processes that run, in the order of their start.
type Table struct {
	// Limit is the most processes that run at a time.
	Limit uint32
	// Unheard returns how many processes have exited and wait for a host to take their output. They hold
	// pipes, so they count as if they ran. It is nil if there are never any.
	CountUnread func() int

	loop    *reactor.Loop
	contain *contain.Pool
	changed func()
	running []*Process
}

// NewTable returns an empty table. changed is called whenever a process has exited.
func NewTable(loop *reactor.Loop, pool *contain.Pool, limit uint32, changed func()) *Table {
	return &Table{Limit: limit, loop: loop, contain: pool, changed: changed}
}

// Running returns the processes that run. The slice is valid until one more starts or exits.
func (t *Table) Running() []*Process { return t.running }

// Full reports whether no more process may be started.
func (t *Table) Full() bool {
	n := len(t.running)
	if t.CountUnread != nil {
		n += t.CountUnread()
	}
	return n >= int(t.Limit)
}

// Runs reports whether a process of that kind runs.
func (t *Table) Runs(kind framing.ProcessKind) bool {
	for _, p := range t.running {
		if p.Kind == kind {
			return true
		}
	}
	return false
}

// Find returns the running process with that process ID that was not started by start, or nil.
func (t *Table) Find(pid uint32) *Process {
	for _, p := range t.running {
		if p.pid == int(pid) && p.Kind != framing.KindStart {
			return p
		}
	}
	return nil
}

// Signal sends a signal to the process group of each.
func (t *Table) Signal(sig unix.Signal) {
	for _, p := range t.running {
		p.SignalGroup(sig)
	}
}

// Boxes calls f with the cgroup of each; nil if it has none.
func (t *Table) EachBox(f func(*contain.Box)) {
	for _, p := range t.running {
		f(p.Box)
	}
}

// Leave lets all of them run on without the agent.
func (t *Table) Release() {
	for len(t.running) > 0 {
		t.running[0].release()
	}
}

// ErrFull returns the error of a request for one process too many.
func (t *Table) ErrFull() error {
	return errors.New("too many commands running (limit " + sys.Num(t.Limit) + ")")
}
