package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// Of kept processes hosts start no more once there are mayKeep, so that most starts find room; and leave none unreleased once there are
// mayLeave. maxKept is the agent's limit.
const (
	mayKeep  = 40
	mayLeave = 25
	maxKept  = 64
	// soon is what a process is kept in ms that is let go of by itself at rest.
	soon = 1000
)

// full reports whether a payload says that too many processes are kept, which can be only if there may be so many.
func (m *model) full(payload []byte) bool {
	text, err := parseText(payload)
	return err == nil && text == fmt.Sprintf("too many kept processes (limit %d)", maxKept) && m.keptMost.Load() >= maxKept
}

// mayStay reports whether one more process may wait to be released.
func (m *model) mayStay() bool { return m.keptMost.Load() < mayLeave }

// buffers is how many the agent may hold for a process: for input that waits, and for the two outputs of one that is kept.
func (p *proc) buffers() (n int64) {
	if p.flags&fStdin != 0 {
		n = 1
	}
	if p.keep != 0 {
		n += 2
	}
	return n
}

// begun: a process is about to be started.
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

// forget: the agent knows a process no more.
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

// orphan notes that a process has lost its connection. What is not kept is remembered too, now and then, to see that it is gone.
func (m *model) orphan(t *binding) {
	m.ranOn()
	p, c := t.p, t.c
	if t.opened || !t.attach { // otherwise it may be without one for as long as before
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

// snatched: an attach that was lost has come through after all, and nobody has the process.
func (m *model) snatched(p *proc) {
	p.lostAt = time.Now()
	m.orphanMu.Lock()
	defer m.orphanMu.Unlock()
	m.orphans = append(m.orphans, p)
}

// adopt is a process without a connection, or nil: one of that host's, of any if that is negative.
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

// missing judges a done that says that a process cannot be attached to.
func (m *model) missing(p *proc, d done) error {
	away := time.Since(p.lostAt)
	kept := p.keep == keepForever || away < time.Duration(p.keep)*time.Millisecond
	switch {
	case d.errno == unix.ESRCH && kept && p.confirmed && !p.released:
		return fmt.Errorf("it is not known after %v", away)
	case d.errno == unix.ESRCH && kept && !p.confirmed && !p.lostFully:
		// Its start may still be on its way.
		m.orphanMu.Lock()
		defer m.orphanMu.Unlock()
		m.ghosts = append(m.ghosts, p)
		return nil
	case d.errno == unix.ESRCH:
	case (d.errno == unix.EINVAL || d.errno == unix.ERANGE) && p.keep == 0 && !p.lostFully:
		// What was on its way is lost, and its own end is.
	default:
		return fmt.Errorf("errno %d (%v), value %d, at %v", d.errno, d.errno, d.value, p.got)
	}
	m.forget(p)
	return nil
}

// sweep attaches, on the model's own connection, to what is kept for long and has no
// connection, for all hosts, so that it comes to its end and is released. It reports whether nothing of that kind is left. alone says that the
// agent has no other connection any more.
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

// listed is what a process_list says of the processes of starts.
type listed struct{ kept, attached int }

// processes asks for what runs, and may be told of what was started alone.
func (h *host) processes(l *listed) *request {
	seq := h.seq()
	return &request{what: "processes", seq: seq, frame: wiretest.Raw(wiretest.Processes, seq, nil), check: func(typ byte, payload []byte) error {
		in, err := wiretest.Parse(typ, payload)
		if err != nil || typ != wiretest.ProcessList {
			return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
		}
		for _, e := range in.List("list") {
			id, pid, kind, flags, command := e.Get("id").Number, e.Int("pid"), e.Int("kind"), e.Int("flags"), e.Text("command")
			if kind > 2 || flags > 7 || pid == 0 || (kind == 0) != (id != 0) || len(command) > 96 || id != 0 && (id&0xff != 0x5e || id>>8 > lastProc.Load()) {
				return fmt.Errorf("process %d, pid %d, kind %d, flags %d, command %q", id, pid, kind, flags, command)
			}
			if kind == 0 {
				l.kept++
				l.attached += flags & 1
			}
		}
		return nil
	}}
}
