package modeltest

import (
	"bytes"
	"fmt"

	"wick/framing/wiretest"
)

// watch is a spawn_watch. The agent owes it exactly one process_exit, on any connection.
type watch struct {
	command command
	token   string
	conn    *conn
	pid     int // 0 until the reply has come

	// unsure says that the connection ended before the reply. The command may never have been
	// started.
	unsure bool
	// doubt says that a connection ended with unread bytes, which may have included its
	// process_exit.
	doubt bool
	// exit describes its process_exit, once that has come.
	exit string
}

// spawn makes a spawn_watch of a random command.
func (h *host) spawn(c *conn) *request {
	seq := h.seq()
	m := h.m
	s := &watch{token: m.token(), conn: c}
	s.command = h.command(s.token, true)
	if !s.command.refused {
		m.mu.Lock()
		m.watches[s.token] = s
		m.mu.Unlock()
	}
	return &request{
		what: "spawn_watch", seq: seq, frame: wiretest.Raw(wiretest.SpawnWatch, seq, s.command.payload()), prompt: true,
		check: func(typ byte, payload []byte) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if typ == wiretest.Error && (s.command.refused || m.crowded(payload)) {
				delete(m.watches, s.token)
				return nil
			}
			in, err := wiretest.Parse(typ, payload)
			if err == nil && typ == wiretest.SpawnWatchResult && s.command.mayBeTardy() {
				m.tardy[in.Int("pid")] = true
				return nil
			}
			if err != nil || typ != wiretest.SpawnWatchResult || in.Int("pid") == 0 {
				return fmt.Errorf("type 0x%02X %s in reply to spawn_watch of %s", typ,
					wiretest.Brief(payload), wiretest.Brief([]byte(s.command.text)))
			}
			pid := in.Int("pid")
			s.pid = pid
			if exit, ok := m.silents[pid]; ok {
				s.exit = exit
				delete(m.silents, pid)
			}
			return nil
		},
		lost: func() {
			m.ranOn()
			m.mu.Lock()
			defer m.mu.Unlock()
			s.unsure = true
			if s.command.mayBeTardy() {
				m.lostTardy++ // its reply may have had a pid
			}
		},
	}
}

// exited checks a process_exit that came on c.
func (m *model) exited(c *conn, payload []byte) error {
	r, err := parseResult(wiretest.ProcessExit, payload)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if notExecuted := len(r.stdout) == 0 && (r.code == 126 || r.code == 127); notExecuted {
		if m.tardy[r.pid] {
			delete(m.tardy, r.pid)
			return nil
		}
		if m.lostTardy > 0 {
			m.lostTardy--
			return nil
		}
	}
	line, _, _ := bytes.Cut(r.stdout, []byte("\n"))
	s := m.watches[string(line)]
	if s == nil {
		if s, err = m.silent(c, r); s == nil {
			return err
		}
	}
	switch {
	case s.exit != "":
		return fmt.Errorf("process_exit of %d a second time: %v; the first was %s", r.pid, r, s.exit)
	case s.pid == 0 && !s.unsure && s.conn == c:
		return fmt.Errorf("process_exit of %d came before the reply to its spawn_watch", r.pid)
	case s.pid != 0 && s.pid != r.pid:
		return fmt.Errorf("process_exit of %d with the output of %d: %v", r.pid, s.pid, r)
	case s.conn != c && !s.conn.ending():
		return fmt.Errorf("process_exit of %d came on %s while %s, which spawned it, is open", r.pid, c.name, s.conn.name)
	}
	s.exit = fmt.Sprintf("on %s: %v", c.name, r)
	m.count.exits++
	return s.command.check(r, m.releasing.Load())
}

// silent finds the watch of a process that was ended before it wrote its line. m.mu is held. If the
// reply to its spawn_watch was lost too, the exit fits every such watch. In this case silent
// returns no watch. It checks that there are no more such exits than such watches.
func (m *model) silent(c *conn, r result) (*watch, error) {
	var candidates int
	for _, s := range m.watches {
		switch {
		case !s.command.cut || len(r.stdout) > 0 || r.code != 124:
		case s.pid == r.pid:
			return s, nil
		case s.pid == 0 && s.conn != c && s.exit == "":
			candidates++
		}
	}
	if first := m.silents[r.pid]; first != "" || candidates <= len(m.silents) {
		return nil, fmt.Errorf("unexpected process_exit of %d: %v; the first was %q", r.pid, r, first)
	}
	m.silents[r.pid] = fmt.Sprintf("on %s: %v", c.name, r)
	m.count.exits++
	return nil, nil
}

// doubtExits records that a connection ended with unread bytes, which may have included any
// process_exit.
func (m *model) doubtExits() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.watches {
		if !s.command.held {
			s.doubt = true
		}
	}
}

// owed returns the number of process_exits that must still come, and an example.
func (m *model) owed() (n int, example string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.watches {
		if !s.unsure && !s.doubt && s.exit == "" {
			n++
			example = fmt.Sprintf("%d: %s", s.pid, wiretest.Brief([]byte(s.command.text)))
		}
	}
	return n, example
}

// forgetExits drops all watches while no process_exit is under way. It returns how many exits were
// lost with a connection.
func (m *model) forgetExits() (lost int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.watches {
		if s.doubt && s.pid != 0 && s.exit == "" {
			lost++
		}
	}
	clear(m.watches)
	clear(m.silents)
	return lost
}
