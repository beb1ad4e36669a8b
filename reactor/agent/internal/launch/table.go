package launch

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// Table lists the running processes, in the order of their start.
type Table struct {
	// Limit is the most processes that run at a time.
	Limit uint32
	// CountUnread returns how many exited processes wait for a host to read their output. They hold
	// pipes, so they count against Limit. nil means there are never any.
	CountUnread func() int
	// Watch is called after a process was started or has exited, unless it is nil.
	Watch func()

	loop    *reactor.Loop
	contain *contain.Pool
	changed func() // an exit may let the agent's end take its next step
	running []*Process
}

// NewTable returns an empty table. It calls changed after every exit.
func NewTable(loop *reactor.Loop, pool *contain.Pool, limit uint32, changed func()) *Table {
	return &Table{Limit: limit, loop: loop, contain: pool, changed: changed}
}

// watch calls Watch.
func (t *Table) watch() {
	if t.Watch != nil {
		t.Watch()
	}
}

// Running returns the running processes. The slice is valid until the next start or exit.
func (t *Table) Running() []*Process { return t.running }

// Full reports whether the limit is reached.
func (t *Table) Full() bool {
	n := len(t.running)
	if t.CountUnread != nil {
		n += t.CountUnread()
	}
	return n >= int(t.Limit)
}

// Runs reports whether a process of that kind is running.
func (t *Table) Runs(kind framing.ProcessKind) bool {
	for _, p := range t.running {
		if p.Kind == kind {
			return true
		}
	}
	return false
}

// Find returns the running process with that process ID, or nil. It does not find processes that a
// start request started, because hosts name those by an ID of their own.
func (t *Table) Find(pid uint32) *Process {
	for _, p := range t.running {
		if p.pid == int(pid) && p.Kind != framing.KindStart {
			return p
		}
	}
	return nil
}

// Signal sends a signal to the process group of every running process.
func (t *Table) Signal(sig unix.Signal) {
	for _, p := range t.running {
		p.SignalGroup(sig)
	}
}

// EachBox calls f with the cgroup of every running process, which is nil if it has none.
func (t *Table) EachBox(f func(*contain.Box)) {
	for _, p := range t.running {
		f(p.Box)
	}
}

// Release empties the table. The processes run on without the agent.
func (t *Table) Release() {
	for len(t.running) > 0 {
		t.running[0].release()
	}
}

// ErrFull returns the error for a request that exceeds Limit.
func (t *Table) ErrFull() error {
	return errors.New("too many commands running (limit " + sys.Num(t.Limit) + ")")
}
