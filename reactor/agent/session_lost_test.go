package agent

import (
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// window is the input that a process is granted at first.
const window = 60 << 10

// TestSessionsLost ends a connection in every state of a process. Nothing of the process is
// left.
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
			p.Send(roomtest.Input(p.seq, make([]byte, window)))
			p.next()
			p.Send(roomtest.Input(p.seq, make([]byte, window)))
			p.Ping(99)
		}},
		{"flooding", framing.Start{Args: words("yes")}, func(p *guestProcess) {
			for len(p.out[1]) < 300_000 { // which is spliced by then
				p.next()
			}
		}},
		{"exited, output not taken", framing.Start{Args: words("echo up"), OutputCredit: 1}, func(p *guestProcess) {
			p.box.untilRunning(0)
		}},
		{"killed", framing.Start{Args: words(busy)}, func(p *guestProcess) {
			p.until(1, "up")
			p.Send(framing.AppendSignal(nil, 99, framing.Signal{ID: p.id, Signal: 9, Scope: framing.ScopeTree}))
		}},
	}
	for _, state := range states {
		twice(t, state.name, func(t *testing.T, b *box) {
			s := state.start
			s.Shell = true
			if s.OutputCredit == 0 {
				s.OutputCredit = plenty
			}
			s.ErrorsCredit = plenty
			p := b.dialHello().start(2, s)
			if state.after != nil {
				state.after(p)
			}
			p.Close()
			b.quiet(0)
			b.allDie()
		})
	}
}

// TestInputOfExited has input wait for processes that have exited, and have left others
// running. However many they are, a kept process has the buffers that it needs.
func TestInputOfExited(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.limits = Limits{Commands: 1, Kept: 1}
	b.start()
	t.Cleanup(b.stop)
	h := b.dialHello()
	gate, _ := b.Fifo() // what is left running waits for the test's end
	await := func(t framing.Type, seq uint32) {
		for {
			if gotType, gotSeq, _ := h.Next(); gotType == t && gotSeq == seq {
				return
			}
		}
	}
	for seq := range uint32(4) {
		// The output that is not granted keeps it known.
		h.start(seq, framing.Start{
			ID: 1 + uint64(seq), Shell: true, Args: words("exec 3<&0; read x < " + gate + " >&- 2>&- & echo x"), Stdin: true,
		})
		await(framing.TypeStarted, seq)
		b.untilRunning(0)
		h.Send(roomtest.Input(seq, make([]byte, window)))
		await(framing.TypeCredit, seq)
		h.Send(roomtest.Input(seq, make([]byte, window)))
		h.Send(roomtest.Frame(framing.TypePing, 100))
		await(framing.TypePong, 100)
	}
	k := b.dialHello()
	p := k.start(1, framing.Start{
		ID: 100, Shell: true, Args: words("echo out; echo err >&2"),
		KeepMS: framing.KeepForEver, OutputCredit: plenty, ErrorsCredit: plenty,
	})
	if e := p.wait(); e.Code != 0 || string(p.out[1]) != "out\n" || string(p.out[2]) != "err\n" {
		t.Errorf("exited %+v, output %q, want code 0, out and err", e, p.out)
	}
}

// TestAttachedByTheGone has a connection take a process from itself, and end before it can be
// told so.
func TestAttachedByTheGone(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	for _, keep := range []uint32{0, 1} {
		h := b.dialHello()
		p := h.start(1, framing.Start{Args: words("sleep", "1000"), KeepMS: keep})
		p.next()
		b.do(func(*Agent) { // which sees nothing of this before all of it has happened
			h.Send(framing.AppendAttach(nil, 2, &framing.Attach{ID: 1}))
			h.Close()
		})
		b.quiet(0)
	}
}
