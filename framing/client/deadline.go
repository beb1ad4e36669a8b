package client

import (
	"os"
	"sync"
	"time"
)

// deadline limits the reads or writes of a [Conn]. It is a context that ends at a certain time.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	due   chan struct{} // closed when the time has come
}

func newDeadline() *deadline { return &deadline{due: make(chan struct{})} }

// set moves the deadline. The zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.due // the timer's function is about to close it, or has
	}
	d.timer = nil
	over := false
	select {
	case <-d.due:
		over = true
	default:
	}
	if t.IsZero() {
		if over {
			d.due = make(chan struct{})
		}
		return
	}
	wait := time.Until(t)
	if over && wait > 0 {
		d.due = make(chan struct{})
	}
	if wait > 0 {
		due := d.due
		d.timer = time.AfterFunc(wait, func() { close(due) })
	} else if !over {
		close(d.due)
	}
}

// Deadline implements context.Context. It is not known to the callees, which only look at Done.
func (d *deadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.due
}

// Err implements context.Context.
func (d *deadline) Err() error {
	select {
	case <-d.Done():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// Value implements context.Context.
func (d *deadline) Value(any) any { return nil }
