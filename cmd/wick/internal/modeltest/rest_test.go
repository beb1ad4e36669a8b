package modeltest

import (
	"fmt"
	"strings"
	"time"
)

// rest brings the model to rest and checks it. The agent must keep nothing from the hosts, and must
// have sent all that it owes them. The hosts are done, and their connections have ended.
func (m *model) rest() (figures, error) {
	if err := m.connect(); err != nil {
		return figures{}, err
	}
	m.releasing.Store(true)
	defer m.releasing.Store(false)
	f, err := m.release()
	if err != nil {
		return f, err
	}
	// A process_exit that found no connection comes after the next ready.
	if err := m.connect(); err != nil {
		return f, err
	}
	if err := m.barrier(); err != nil {
		return f, err
	}
	if n, example := m.owed(); n > 0 {
		return f, fmt.Errorf("%d process_exits did not come, that of %s among them", n, example)
	}
	lost := m.forgetExits()
	m.mu.Lock()
	m.count.lostExits += lost
	m.mu.Unlock()
	m.holding.Store(0)
	m.running.Store(0)
	for _, p := range m.ghosts {
		m.forget(p)
	}
	m.ghosts = nil
	if n := len(m.orphans); n > 0 {
		return f, fmt.Errorf("%d processes without a connection, %v among them", n, m.orphans[0])
	}
	if err := m.readFiles(); err != nil {
		return f, err
	}
	if left := m.target.strays(); len(left) > 0 {
		return f, fmt.Errorf("processes left: %s", strings.Join(left, "; "))
	}
	return m.look()
}

// release ends the processes that wait for the hold. It polls until the agent holds no more than at
// the start, because no event announces that.
func (m *model) release() (f figures, err error) {
	limit := time.Now().Add(patience)
	for {
		// Opening a FIFO for both reading and writing does not block. Processes that wait for a
		// writer find one, and then the end of the file.
		if _, err := m.run(": <>" + m.dir + "/hold"); err != nil {
			return f, err
		}
		if f, err = m.look(); err != nil {
			return f, err
		}
		more := f.beyond(m.first)
		// When no other connection is left, no start is under way any more.
		clean, err := m.sweep(f.open["socket"] <= m.first.open["socket"])
		if err != nil {
			return f, err
		}
		if !clean {
			more = append(more, "processes that are kept")
		}
		if len(more) == 0 {
			return f, nil
		}
		if time.Now().After(limit) {
			return f, fmt.Errorf("the agent holds more than at first: %s", strings.Join(more, "; "))
		}
		time.Sleep(10 * time.Millisecond)
		// A process_exit that was cut off with its connection is kept for the next ready. The agent
		// may learn of that end only after this connection's ready.
		if err := m.connect(); err != nil {
			return f, err
		}
	}
}

// readBack returns the content of a file, nil if the file does not exist.
func (m *model) readBack(path string) (content []byte, err error) {
	r, err := m.run("if [ -e " + path + " ]; then cat " + path + "; else echo none >&2; fi")
	switch {
	case err != nil || string(r.stderr) == "none\n":
		return nil, err
	case r.stdout == nil:
		return []byte{}, nil
	}
	return r.stdout, nil
}

// readFiles checks each file against the contents that it may have.
func (m *model) readFiles() error {
	for _, f := range m.allFiles() {
		content, err := m.readBack(f.path)
		if err != nil {
			return err
		}
		m.mu.Lock()
		err = f.rested(content)
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for _, h := range m.hosts {
		for _, f := range h.changed {
			content, err := m.readBack(f.path)
			if err != nil {
				return err
			}
			if err := f.rested(content); err != nil {
				return err
			}
		}
	}
	if _, err := m.run("rm -rf " + m.dir + "/script-*"); err != nil {
		return err
	}
	// Remove directories that writes created, so that later writes create them again.
	for _, h := range m.hosts {
		if _, err := m.run(fmt.Sprintf("rm -rf %s/new-%d", m.dir, h.n)); err != nil {
			return err
		}
		for _, f := range h.files {
			if strings.Contains(f.path, "/new-") {
				f.acked = absent
			}
		}
	}
	return nil
}
