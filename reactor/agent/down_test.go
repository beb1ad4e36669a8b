package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

type expired func()

func (f expired) Expired(*reactor.Timer) { f() }

// TestEndIsAnswered has a host that asked for the end take its time with the answer: the agent is there until it has closed.
func TestEndIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	h := b.dial()
	turned := make(chan struct{})
	var next reactor.Timer
	b.do(func(a *Agent) {
		a.cfg.Init = true // from here on, or it would be refused
		a.power.wait(a.conns[0], 7)
		a.down = downFlushed
		a.settle()
		a.loop.Start(&next, 0, expired(func() { close(turned) }))
	})
	select {
	case <-turned:
	case <-b.done:
		t.Fatal("it ended with the answer under way")
	}
	h.want(framing.TypeDone, 7)
	h.Close()
	select {
	case <-b.done:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	unix.Close(b.pipe[1])
}

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
