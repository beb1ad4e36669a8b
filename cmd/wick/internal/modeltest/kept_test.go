package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// These constants limit kept processes. Hosts start no more while there are mayKeep, so that most
// starts find room. They leave none of them unreleased while there are mayLeave. maxKept is the
// agent's limit.
const (
	mayKeep  = 40
	mayLeave = 25
	maxKept  = 64
	// soon is a keep time in ms after which a process is gone by the time the model rests. The
	// model does not attach to a process kept for soon or less.
	soon = 1000
)

// full reports whether a payload says that too many processes are kept, and whether that many may
// be.
func (m *model) full(payload []byte) bool {
	text, err := parseText(payload)
	return err == nil && text == fmt.Sprintf("too many kept processes (limit %d)", maxKept) && m.keptMost.Load() >= maxKept
}

// mayStay reports whether one more process may stay unreleased.
func (m *model) mayStay() bool { return m.keptMost.Load() < mayLeave }

// buffers returns how many buffers the agent may hold for a process: one for waiting input, and two
// for the outputs of a kept process.
func (p *proc) buffers() (n int64) {
	if p.flags&fStdin != 0 {
		n = 1
	}
	if p.keep != 0 {
		n += 2
	}
	return n
}

// begun counts a process that is about to be started.
func (m *model) begun(p *proc) {
	m.starts.Add(1)
	p.counted = true
	if p.keep != 0 {
		m.keptMost.Add(1)
	}
	now := m.buffers.Add(p.buffers())
	for most := m.buffersMost.Load(); now > most && !m.buffersMost.CompareAndSwap(most, now); most = m.buffersMost.Load() {
	}
}

// forget stops counting a process that the agent no longer knows.
func (m *model) forget(p *proc) {
	if !p.counted {
		return
	}
	p.counted = false
	m.buffers.Add(-p.buffers())
	if p.keep != 0 {
		m.keptMost.Add(-1)
	}
}

// orphan records that a process has lost its connection. It sometimes records a process that is not
// kept, to check later that it is gone.
func (m *model) orphan(t *binding) {
	m.ranOn()
	p, c := t.p, t.c
	if t.opened || !t.attach { // otherwise it may have lost its connection earlier
		c.mu.Lock()
		p.lostAt, p.lostFully = c.endedAt, c.how == endHalf
		c.mu.Unlock()
	}
	p.loose = p.loose || t.attach && !t.opened || t.asked
	if p.keep == 0 {
		m.forget(p)
	}
	m.orphanMu.Lock()
	defer m.orphanMu.Unlock()
	if p.keep != 0 || p.id>>8%4 == 0 {
		m.orphans = append(m.orphans, p)
	}
}

// snatched records a process as an orphan, because a lost attach has taken it after all.
func (m *model) snatched(p *proc) {
	p.lostAt = time.Now()
	m.orphanMu.Lock()
	defer m.orphanMu.Unlock()
	m.orphans = append(m.orphans, p)
}

// adopt removes an orphan of that host from the list and returns it, or nil if the host has no
// orphan. n selects the orphan.
func (m *model) adopt(host, n int) *proc {
	m.orphanMu.Lock()
	defer m.orphanMu.Unlock()
	var own []*proc
	for _, p := range m.orphans {
		if p.host == host {
			own = append(own, p)
		}
	}
	if len(own) == 0 {
		return nil
	}
	p := own[n%len(own)]
	m.orphans = slices.DeleteFunc(m.orphans, func(o *proc) bool { return o == p })
	return p
}

// missing checks a done that says that a process cannot be attached to.
func (m *model) missing(p *proc, d done) error {
	away := time.Since(p.lostAt)
	kept := p.keep == keepForever || away < time.Duration(p.keep)*time.Millisecond
	switch {
	case d.errno == unix.ESRCH && kept && p.confirmed && !p.released:
		return fmt.Errorf("it is not known after %v", away)
	case d.errno == unix.ESRCH && kept && !p.confirmed && !p.lostFully:
		// Its start may still be under way.
		m.orphanMu.Lock()
		defer m.orphanMu.Unlock()
		m.ghosts = append(m.ghosts, p)
		return nil
	case d.errno == unix.ESRCH:
	case (d.errno == unix.EINVAL || d.errno == unix.ERANGE) && p.keep == 0 && !p.lostFully:
		// Its output under way is lost, and it is about to end.
	default:
		return fmt.Errorf("errno %d (%v), value %d, at %v", d.errno, d.errno, d.value, p.got)
	}
	m.forget(p)
	return nil
}

// sweep attaches to every orphan with a long keep time, on the model's own connection, so that it
// ends and is released. clean reports whether the agent keeps no process any more. alone says that
// the agent has no other connection.
func (m *model) sweep(alone bool) (clean bool, err error) {
	m.orphanMu.Lock()
	all := append(m.orphans, m.ghosts...)
	m.orphans, m.ghosts = nil, nil
	m.orphanMu.Unlock()
	if alone {
		for _, p := range all {
			p.loose = false
		}
	}
	h, c := m.sweeper, m.control
	requests := []*request{h.hello(c)}
	for _, p := range all {
		if p.keep > soon {
			requests = append(requests, h.bind(c, p, true))
		} else {
			m.forget(p)
		}
	}
	list := &listed{}
	post := func(requests ...*request) error {
		if err := c.owe(requests...); err != nil {
			return err
		}
		var b []byte
		for _, q := range requests {
			b = append(b, q.frame...)
		}
		if err := h.send(c, b); err != nil {
			return err
		}
		return h.tend(c, -1)
	}
	if err = post(requests...); err == nil {
		err = post(h.processes(list))
	}
	if errors.Is(err, errEnded) && m.hasFailed() {
		err = m.err
	}
	return list.kept == 0, err
}

// listed counts the processes of starts in a process_list.
type listed struct{ kept, attached int }

// workloadID is the id of the workload of a machine. The model did not start it.
const workloadID = 0x776F726B6C6F6164

// processes requests the list of processes and counts them in l. It fails if the list has a process
// that was not started here.
func (h *host) processes(l *listed) *request {
	seq := h.seq()
	return &request{what: "processes", seq: seq, frame: wiretest.Raw(wiretest.Processes, seq, nil),
		check: func(typ byte, payload []byte) error {
			in, err := wiretest.Parse(typ, payload)
			if err != nil || typ != wiretest.ProcessList {
				return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
			}
			for _, e := range in.List("list") {
				id, pid, kind, flags, command := e.Get("id").Number, e.Int("pid"), e.Int("kind"),
					e.Int("flags"), e.Text("command")
				if id == workloadID && h.m.target.pid() == "1" {
					continue
				}
				if kind > 2 || flags > 7 || pid == 0 || (kind == 0) != (id != 0) ||
					len(command) > 96 ||
					id != 0 && (id&0xff != 0x5e || id>>8 > lastProc.Load()) {
					return fmt.Errorf("process %d, pid %d, kind %d, flags %d, command %q", id, pid,
						kind, flags, command)
				}
				if kind == 0 {
					l.kept++
					l.attached += flags & 1
				}
			}
			return nil
		}}
}
