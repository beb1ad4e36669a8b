package modeltest

import (
	"fmt"
	"strings"
	"time"
)

// rest brings the model to rest and judges it: nothing of what the hosts did may be left, and all that they are owed must have come.
// The hosts are done, and their connections have ended.
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
	// What had no connection to go to comes after the next ready.
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

// release ends what waits for the hold, and waits until the agent holds no more than in the beginning. There is no event for that, so it
// is looked at over and over.
func (m *model) release() (f figures, err error) {
	limit := time.Now().Add(patience)
	for {
		// Opened both ways a FIFO waits for nobody, and those that wait for a writer find one; and then the end.
		if _, err := m.run(": <>" + m.dir + "/hold"); err != nil {
			return f, err
		}
		if f, err = m.look(); err != nil {
			return f, err
		}
		more := f.beyond(m.first)
		// When no other connection is left, nothing is started any more that was on its way.
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
		// A process_exit that broke off with a connection, of whose end the agent learned after this one's ready, is kept for the next ready.
		if err := m.connect(); err != nil {
			return f, err
		}
	}
}

// readBack is what is in a file, nil if there is none.
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

// readFiles holds the files against what they may be.
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
	// What was written where there were no directories is written there again.
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
