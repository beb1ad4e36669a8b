package agent

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/link"
	"wick/reactor/agent/internal/sys"
)

// TestSecondGrace asks for the end again during the grace of processes. The grace becomes shorter,
// and never longer.
func TestSecondGrace(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	b.do(func(a *Agent) {
		// The state of an init that has sent SIGTERM to all. The loop must not turn in it, because
		// this is no init.
		a.cfg.Init, a.down, a.killAt = true, downAsked, reactor.Now()+time.Hour
		defer func() { a.cfg.Init, a.down = false, downNot }()
		defer a.downTime.Stop()
		first := a.killAt
		a.end(2 * time.Hour)
		if a.killAt != first || a.downTime.Running() {
			t.Errorf("a longer grace moved the kill by %v", a.killAt-first)
		}
		least := reactor.Now() + time.Minute
		a.end(time.Minute)
		most := reactor.Now() + time.Minute
		if a.killAt < least || a.killAt > most || !a.downTime.Running() {
			t.Errorf("after a shorter grace the kill is in %v, want 1m", a.killAt-reactor.Now())
		}
		second := a.killAt
		if a.end(30 * time.Minute); a.killAt != second {
			t.Errorf("a third grace, longer than the second, moved the kill by %v",
				a.killAt-second)
		}
		// After the kill there is no grace to change.
		a.downTime.Stop()
		a.down = downKilled
		if a.end(time.Second); a.down != downKilled || a.killAt != second || a.downTime.Running() {
			t.Errorf("a grace after the kill: step %d, the kill moved by %v",
				a.down, a.killAt-second)
		}
	})
	b.stop()
}

// TestEndWaitsForExited asks for the end after a process has exited, but before its host has
// granted the credit for its output. The agent stays until it has sent the exited.
func TestEndWaitsForExited(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	h := b.extended()
	p := h.start(1, framing.Start{Shell: true, Args: words("echo out")})
	h.want(framing.TypeStarted, 1)
	b.until("the process has exited", func(a *Agent) bool {
		return len(a.sessions) == 1 && a.sessions[0].exited && a.idle()
	})
	b.do(func(a *Agent) {
		a.end(0)
		a.stepDown()
		// The usual half second is too short for a slow machine.
		a.loop.Start(&a.downTime, patience, (*downTimer)(a))
	})
	h.send(framing.AppendCredit(nil, p.seq, framing.StreamOutput, plenty))
	for p.exited == nil {
		p.next()
	}
	if string(p.out[framing.StreamOutput]) != "out\n" || p.exited.Code != 0 {
		t.Errorf("stdout %q, exited %+v", p.out[framing.StreamOutput], p.exited)
	}
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

// TestRestoreToldTwice lets the agent detect a restore. The first restore request counts as the
// same one, and each further request as a new one.
func TestRestoreToldTwice(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.dial()
	b.do(func(a *Agent) {
		c := a.conns[0]
		a.restores.opened(a)
		c.link = link.NewListen((*linkHost)(a), a.loop, a.log, 0)
		a.restores.wall -= time.Hour
		c.End(sys.NewError("read", "", unix.ECONNRESET))
	})
	h := b.dial()
	h.extend()
	for seq, want := range []uint64{1, 2, 3} {
		h.send(framing.AppendRestore(nil, uint32(seq), 0, nil))
		if d := h.done(uint32(seq)); d.Errno != 0 || d.Value != want {
			t.Errorf("restore request %d: errno %d (%s), epoch %d; want 0 and %d",
				seq+1, d.Errno, d.Reason, d.Value, want)
		}
	}
}

// TestFreezeForgets closes the connections that wait for a freeze and for a thaw. The agent drops
// both answers.
func TestFreezeForgets(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	path, gate := b.fifo("gate")
	dir, err := unix.Open(b.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	b.do(func(a *Agent) {
		a.cfg.FreezeFD = dir
		a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + path + "; exit 5"}
	})
	stays, freezes, thaws := b.dial(), b.dial(), b.dial()
	freezes.extend()
	thaws.extend()
	freezes.freeze(1, maxFreeze)
	b.until("freezing", func(a *Agent) bool {
		return a.freezer.state == freezing && a.freezer.freeze.conn != nil
	})
	thaws.thaw(1)
	b.until("called off", func(a *Agent) bool { return a.freezer.thaw.conn != nil })
	freezes.Close()
	b.until("the first is gone", func(a *Agent) bool { return len(a.conns) == 2 })
	b.do(func(a *Agent) {
		if a.freezer.freeze.conn != nil || a.freezer.thaw.conn == nil {
			t.Errorf("a connection waits for the freeze: %v, for the thaw: %v; want false, true",
				a.freezer.freeze.conn != nil, a.freezer.thaw.conn != nil)
		}
	})
	thaws.Close()
	b.until("the second is gone", func(a *Agent) bool { return len(a.conns) == 1 })
	b.do(func(a *Agent) {
		if a.freezer.thaw.conn != nil {
			t.Error("a closed connection waits for the thaw")
		}
	})
	gate.WriteString("\n")
	b.thawed()
	stays.ping(1)
	b.quiet(1)
}

// TestUselessHost connects to a host that closes every connection after the ready. The agent waits
// longer each time.
func TestUselessHost(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	l, err := net.Listen("unix", b.path())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // and with it the socket
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, framing.HeaderSize))
			c.Close()
		}
	}()
	b.start()
	b.until("the wait has doubled three times", func(a *Agent) bool {
		wait, _ := a.links[0].(*link.Path).Waits()
		return wait >= 80*time.Millisecond
	})
	// The agent must not take the path when the listener is gone.
	b.do(func(a *Agent) { a.links[0].Close() })
	l.Close()
	b.stop()
}
