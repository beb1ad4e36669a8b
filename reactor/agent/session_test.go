package agent

import (
	"bytes"
	"testing"
	"time"

	"wick/framing"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
)

// words are the arguments of a start.
func words(list ...string) (w framing.Words) {
	for _, word := range list {
		w.Add(word)
	}
	return w
}

// plenty is more credit than a test needs.
const plenty = 1 << 30

// guestProcess is a started process as its host sees it.
type guestProcess struct {
	*host
	seq     uint32
	id      uint64
	started framing.Started
	out     [3][]byte
	closed  [3]bool
	exited  *framing.Exited
	granted int // of stdin
}

// start asks for a process and does not wait for it.
func (h *host) start(seq uint32, s framing.Start) *guestProcess {
	h.Helper()
	if s.ID == 0 {
		s.ID = uint64(seq)
	}
	h.Send(framing.AppendStart(nil, seq, &s))
	return &guestProcess{host: h, seq: seq, id: s.ID}
}

// shell starts a shell with all the credit that it needs.
func (h *host) shell(seq uint32, command string) *guestProcess {
	h.Helper()
	return h.start(seq, framing.Start{Shell: true, Args: words(command), OutputCredit: plenty, ErrorsCredit: plenty})
}

// next takes a frame.
func (p *guestProcess) next() framing.Type {
	p.Helper()
	t, seq, payload := p.Next()
	if seq != p.seq {
		p.Fatalf("got %v seq %d %.100q, want seq %d", t, seq, payload, p.seq)
	}
	if err := p.take(t, payload); err != nil {
		p.Fatal(err)
	}
	return t
}

// take takes a frame about the process.
func (p *guestProcess) take(t framing.Type, payload []byte) (err error) {
	p.Helper()
	if p.exited != nil {
		p.Fatalf("%v after exited", t)
	}
	switch t {
	case framing.TypeStarted:
		p.started, err = framing.ParseStarted(payload)
		p.granted = int(p.started.Credit)
	case framing.TypeOutput:
		var s framing.Stream
		var data []byte
		if s, data, err = framing.ParseOutput(payload); p.closed[s] {
			p.Fatalf("output of stream %d after its close", s)
		}
		p.out[s] = append(p.out[s], data...)
	case framing.TypeClose:
		var s framing.Stream
		s, err = framing.ParseClose(payload)
		if p.closed[s] {
			p.Fatalf("stream %d closed twice", s)
		}
		p.closed[s] = true
	case framing.TypeCredit:
		var n uint32
		_, n, err = framing.ParseCredit(payload)
		p.granted += int(n)
	case framing.TypeExited:
		p.exited = &framing.Exited{}
		err = framing.ParseExited(bytes.Clone(payload), p.exited)
	default:
		p.Fatalf("%v %.200q", t, payload)
	}
	return err
}

// wait takes frames up to exited.
func (p *guestProcess) wait() *framing.Exited {
	p.Helper()
	for p.exited == nil {
		p.next()
	}
	if p.exited.Reason != framing.ReasonNotStarted && (!p.closed[1] || !p.closed[2]) {
		p.Fatalf("exited before the closes: %v", p.closed)
	}
	return p.exited
}

// until takes frames until the output of a stream holds the text.
func (p *guestProcess) until(stream framing.Stream, text string) {
	p.Helper()
	for !bytes.Contains(p.out[stream], []byte(text)) {
		p.next()
	}
}

// TestLateTerminal holds that what a process wrote to a terminal before its exit is sent,
// however late its host grants the credit. The time for which the end of the pipes is waited
// for is tested, so it waits.
func TestLateTerminal(t *testing.T) {
	t.Parallel()
	const size = 9000 // more than a terminal has ready to be read
	for _, x := range []struct {
		name string
		held bool
		keep uint32
	}{
		{"closed", false, 0},
		{"closed and kept", false, 60_000},
		{"held", true, 0},
		{"held and kept", true, 60_000},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := startBox(t)
			h := b.dialHello()
			holder := ""
			if x.held {
				gate, _ := b.Fifo() // it waits for the test's end
				holder = "read x < " + gate + " &"
			}
			p := h.start(1, framing.Start{
				Shell: true, Terminal: true, KeepMS: x.keep,
				Args: words("stty raw; trap '' HUP; " + holder + " head -c 9000 /dev/zero; exit 7"),
			})
			for !p.closed[2] {
				p.next()
			}
			for exited := false; !exited; time.Sleep(time.Millisecond) {
				h.Send(roomtest.Frame(framing.TypeProcesses, 2))
				list, err := framing.ParseProcessList(h.Want(framing.TypeProcessList, 2))
				if err != nil || len(list) != 1 {
					t.Fatalf("%v, %v", list, err)
				}
				exited = list[0].Exited
			}
			time.Sleep(2 * launch.PipeGrace)
			for len(p.out[1]) < size && p.exited == nil {
				had := len(p.out[1])
				h.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, 100))
				for len(p.out[1]) < min(had+100, size) && p.exited == nil {
					p.next()
				}
			}
			if e := p.wait(); e.Code != 7 || len(p.out[1]) != size || e.Output != size {
				t.Errorf("code %d, %d bytes came of %d written, want %d", e.Code, len(p.out[1]), e.Output, size)
			}
		})
	}
}
