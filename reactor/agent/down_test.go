package agent

import (
	"testing"
	"time"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
)

type expired func()

func (f expired) Expired(*reactor.Timer) { f() }

// TestEndIsAnswered has a host that asked for the end take its time with the answer. The agent
// is there until the host has closed.
func TestEndIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	h := b.dial()
	turned := make(chan struct{})
	var next reactor.Timer
	b.do(func(a *Agent) {
		a.cfg.Init = true // from here on, or New would refuse it
		a.power.Wait(a.server.All()[0], 7)
		a.down = downDisks
		a.shutDownDisks()
		a.loop.Start(&next, 0, expired(func() { close(turned) }))
	})
	<-turned
	h.Want(framing.TypeDone, 7)
	h.Close()
	b.end()
}

// TestEndFails has a fault in the last step of the end. The agent ends nevertheless.
func TestEndFails(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	b.do(func(a *Agent) {
		a.cfg.Init = true // from here on, or New would refuse it
		a.cfg.Settle = func() error { panic("for a test") }
		a.down = downDisks
		a.loop.Start(&a.phaseTimer, 0, (*downTimer)(a))
	})
	b.end()
}

// TestSecondGrace asks for the end again during the grace of processes. The grace becomes
// shorter, and never longer.
func TestSecondGrace(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.do(func(a *Agent) {
		// The state of an init that has sent SIGTERM to all. The loop must not turn in it,
		// because this is no init.
		a.cfg.Init, a.down, a.killAt = true, downTerminating, reactor.Now()+time.Hour
		defer func() { a.cfg.Init, a.down = false, downNone }()
		defer a.phaseTimer.Stop()
		first := a.killAt
		if a.beginDown(2 * time.Hour); a.killAt != first || a.phaseTimer.Running() {
			t.Errorf("a longer grace moved the kill by %v", a.killAt-first)
		}
		least := reactor.Now() + time.Minute
		a.beginDown(time.Minute)
		second := a.killAt
		if second < least || second > reactor.Now()+time.Minute || !a.phaseTimer.Running() {
			t.Errorf("after a shorter grace the kill is in %v, want 1m", second-reactor.Now())
		}
		if a.beginDown(30 * time.Minute); a.killAt != second {
			t.Errorf("a third grace, longer than the second, moved the kill by %v", a.killAt-second)
		}
		a.phaseTimer.Stop()
		a.down = downKilling
		if a.beginDown(time.Second); a.down != downKilling || a.killAt != second || a.phaseTimer.Running() {
			t.Errorf("a grace after the kill: step %d, the kill moved by %v", a.down, a.killAt-second)
		}
	})
}

// TestEndWaitsForExited asks for the end after a process has exited, and before its host has
// granted credit for its output. The agent stays until it has sent the exited.
func TestEndWaitsForExited(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	h := b.dialHello()
	p := h.start(1, framing.Start{Shell: true, Args: words("echo out")})
	h.Want(framing.TypeStarted, 1)
	b.untilRunning(0)
	b.do(func(a *Agent) {
		a.beginDown(0)
		a.stepDown()
		// The usual half second is too short for a slow machine.
		a.loop.Start(&a.phaseTimer, roomtest.Patience, (*downTimer)(a))
	})
	h.Send(framing.AppendCredit(nil, p.seq, framing.StreamOutput, plenty))
	if e := p.wait(); string(p.out[framing.StreamOutput]) != "out\n" || e.Code != 0 {
		t.Errorf("stdout %q, exited %+v, want out and code 0", p.out[framing.StreamOutput], e)
	}
	b.end()
}
