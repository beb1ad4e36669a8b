package torment

import (
	"fmt"
	"strings"
	"time"
)

// rest brings the world to rest and judges it: nothing of what the hosts did may be left, and all that they are owed must have come.
// The hosts are done, and their connections have ended.
func (w *world) rest() (figures, error) {
	if err := w.connect(); err != nil {
		return figures{}, err
	}
	w.releasing.Store(true)
	defer w.releasing.Store(false)
	f, err := w.release()
	if err != nil {
		return f, err
	}
	// What had no connection to go to comes after the next ready.
	if err := w.connect(); err != nil {
		return f, err
	}
	if err := w.barrier(); err != nil {
		return f, err
	}
	if n, example := w.owed(); n > 0 {
		return f, fmt.Errorf("%d process_exits did not come, that of %s among them", n, example)
	}
	lost := w.forgetExits()
	w.mu.Lock()
	w.count.lostExits += lost
	w.mu.Unlock()
	w.holding.Store(0)
	w.running.Store(0)
	for _, p := range w.ghosts {
		w.forget(p)
	}
	w.ghosts = nil
	if n := len(w.orphans); n > 0 {
		return f, fmt.Errorf("%d processes without a connection, %v among them", n, w.orphans[0])
	}
	if err := w.readFiles(); err != nil {
		return f, err
	}
	if left := w.way.strays(); len(left) > 0 {
		return f, fmt.Errorf("processes left: %s", strings.Join(left, "; "))
	}
	return w.look()
}

// release ends what waits for the hold, and waits until the agent holds no more than in the beginning. There is no event for that, so it
// is looked at over and over.
func (w *world) release() (f figures, err error) {
	limit := time.Now().Add(patience)
	for {
		// Opened both ways a FIFO waits for nobody, and those that wait for a writer find one; and then the end.
		if _, err := w.run(": <>" + w.dir + "/hold"); err != nil {
			return f, err
		}
		if f, err = w.look(); err != nil {
			return f, err
		}
		more := f.beyond(w.first)
		// When no other connection is left, nothing is started any more that was on its way.
		clean, err := w.sweep(f.open["socket"] <= w.first.open["socket"])
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
		if err := w.connect(); err != nil {
			return f, err
		}
	}
}

// readBack is what is in a file, nil if there is none.
func (w *world) readBack(path string) (content []byte, err error) {
	r, err := w.run("if [ -e " + path + " ]; then cat " + path + "; else echo none >&2; fi")
	switch {
	case err != nil || string(r.stderr) == "none\n":
		return nil, err
	case r.stdout == nil:
		return []byte{}, nil
	}
	return r.stdout, nil
}

// readFiles holds the files against what they may be.
func (w *world) readFiles() error {
	for _, f := range w.allFiles() {
		content, err := w.readBack(f.path)
		if err != nil {
			return err
		}
		w.mu.Lock()
		err = f.rested(content)
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for _, h := range w.hosts {
		for _, f := range h.changed {
			content, err := w.readBack(f.path)
			if err != nil {
				return err
			}
			if err := f.rested(content); err != nil {
				return err
			}
		}
	}
	if _, err := w.run("rm -rf " + w.dir + "/script-*"); err != nil {
		return err
	}
	// What was written where there were no directories is written there again.
	for _, h := range w.hosts {
		if _, err := w.run(fmt.Sprintf("rm -rf %s/new-%d", w.dir, h.n)); err != nil {
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
