package agent

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// TestSessionsLost ends a connection in every state of a process: nothing of it is left, whichever way its processes are known.
func TestSessionsLost(t *testing.T) {
	t.Parallel()
	var limits framing.Limits
	limits.Add(framing.Limit{Resource: unix.RLIMIT_CORE})
	const busy = "sleep 1000 & setsid sleep 1000 & echo up; cat; sleep 1000"
	states := []struct {
		name  string
		start framing.Start
		after func(p *guestProcess)
	}{
		{"asked for", framing.Start{Args: words(busy)}, nil},
		{"being limited", framing.Start{Args: words(busy), Limits: limits}, nil},
		{"limited", framing.Start{Args: words(busy), Limits: limits}, func(p *guestProcess) { p.until(1, "up") }},
		{"running", framing.Start{Args: words(busy)}, func(p *guestProcess) { p.until(1, "up") }},
		{"on a terminal", framing.Start{Args: words(busy), Terminal: true, Stdin: true}, func(p *guestProcess) { p.until(1, "up") }},
		{"input waits", framing.Start{Args: words("echo up; exec sleep 1000"), Stdin: true}, func(p *guestProcess) {
			p.until(1, "up")
			// A pipe takes one of these, and some of the second.
			for i := range 2 {
				p.send(append(framing.AppendHeader(nil, framing.TypeInput, p.seq, inputWindow), make([]byte, inputWindow)...))
				if i < 1 {
					p.next()
				}
			}
			p.box.until("input waits", func(a *Agent) bool { return a.session(p.id).in.head < a.session(p.id).in.tail })
		}},
		{"flooding", framing.Start{Args: words("yes")}, func(p *guestProcess) { p.until(1, "y") }},
		{"exited, output not taken", framing.Start{Args: words("echo up"), OutputCredit: 1}, func(p *guestProcess) {
			p.box.until("exited", func(a *Agent) bool { return len(a.running) == 0 })
		}},
		{"killed", framing.Start{Args: words(busy)}, func(p *guestProcess) {
			p.until(1, "up")
			p.send(framing.AppendSignal(nil, 99, framing.Signal{ID: p.id, Signal: 9, Scope: framing.ScopeTree}))
		}},
	}
	for _, state := range states {
		for _, cgroup := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, by cgroup %v", state.name, cgroup), func(t *testing.T) {
				t.Parallel()
				b := startBox(t)
				able := true
				b.do(func(a *Agent) {
					if able = a.contain.Contained(); !cgroup {
						a.contain.Fail(unix.ENOSYS)
					}
				})
				if cgroup && !able {
					t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
				}
				h := b.extended()
				s := state.start
				s.Shell = true
				if s.OutputCredit == 0 {
					s.OutputCredit = plenty
				}
				s.ErrorsCredit = plenty
				p := h.start(2, s)
				if state.after != nil {
					state.after(p)
				}
				h.Close()
				b.quiet(0)
				b.until("all dead", func(*Agent) bool { return len(b.processes()) == 0 })
			})
		}
	}
}

// TestKeptDies has processes that are kept die with their time, and with the agent.
func TestKeptDies(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	h := b.extended()
	for seq, keep := range []uint32{50, framing.KeepForEver} {
		h.start(uint32(seq+2), framing.Start{Shell: true, Args: words("sleep 1000 & wait"), KeepMS: keep})
	}
	b.until("both run", func(a *Agent) bool { return len(a.running) == 2 })
	h.Close()
	b.until("one is left", func(a *Agent) bool { return len(a.sessions) == 1 && len(a.running) == 1 })
	b.stop()
	for end := time.Now().Add(patience); len(b.processes()) > 0; time.Sleep(time.Millisecond) { // what was killed may be about to die
		if time.Now().After(end) {
			t.Fatal("some live on")
		}
	}
}

// TestSessionPanic costs the process that it happens in, and not its connection.
func TestSessionPanic(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.extended()
	p := h.start(2, framing.Start{Args: words("cat"), Stdin: true, KeepMS: 1000})
	p.next()
	b.do(func(a *Agent) {
		in := &a.sessions[0].in
		in.head, in.tail = 5, 3 // which cannot be
		in.pipe.Want(reactor.Write)
	})
	if text := h.want(framing.TypeError, 2); !bytes.Contains(text, []byte("internal error")) {
		t.Errorf("%q", text)
	}
	h.ping(3)
	b.quiet(1)
}

// Processes that have exited do not count as running, and yet may have input waiting, for what they left running. However many they are, a kept process
// has the buffers that it needs.
func TestInputOfExited(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.limits = Limits{Commands: 1, Kept: 1}
	b.start()
	t.Cleanup(b.stop)
	h := b.extended()
	gate, _ := b.fifo("gate") // what is left running waits for the test's end
	await := func(t framing.Type, seq uint32) {
		for {
			if gotType, gotSeq, _ := h.read(); gotType == t && gotSeq == seq {
				return
			}
		}
	}
	for seq := range uint32(holdBuffers + 2) {
		// The output that is not granted keeps it known.
		h.start(seq, framing.Start{ID: 1 + uint64(seq), Shell: true, Args: words("exec 3<&0; read x < " + gate + " >&- 2>&- & echo x"), Stdin: true})
		await(framing.TypeStarted, seq)
		b.until("exited", func(a *Agent) bool { return len(a.running) == 0 })
		h.send(inputFrame(seq, make([]byte, inputWindow)))
		await(framing.TypeCredit, seq)
		h.send(inputFrame(seq, make([]byte, inputWindow)))
		h.send(framing.AppendFrame(nil, framing.TypePing, 100, nil))
		await(framing.TypePong, 100)
	}
	k := b.extended()
	p := k.start(1, framing.Start{ID: 100, Shell: true, Args: words("echo out; echo err >&2"), KeepMS: framing.KeepForEver, OutputCredit: plenty, ErrorsCredit: plenty})
	if e := p.wait(); e.Code != 0 || string(p.out[1]) != "out\n" || string(p.out[2]) != "err\n" {
		t.Errorf("%+v %q", e, p.out)
	}
}

// A connection that takes a process from itself, and is gone before it can be told so, has lost it.
func TestAttachedByTheGone(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	for _, keep := range []uint32{0, 1} {
		h := b.extended()
		p := h.start(1, framing.Start{Args: words("sleep", "1000"), KeepMS: keep})
		p.next()
		b.do(func(*Agent) { // which sees nothing of this before all of it has happened
			h.send(framing.AppendAttach(nil, 2, &framing.Attach{ID: 1}))
			h.Close()
		})
		b.quiet(0)
	}
}
