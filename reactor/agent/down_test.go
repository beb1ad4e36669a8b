package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEndFails has a fault in the last step of the end: it ends nevertheless.
func TestEndFails(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	b.do(func(a *Agent) {
		a.cfg.Init = true // from here on, or it would be refused
		a.cfg.Settle = func() error { panic("for a test") }
		a.down = downFlushed
		a.loop.Start(&a.downTime, 0, (*downTimer)(a))
	})
	select {
	case err := <-b.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	unix.Close(b.pipe[1])
}
