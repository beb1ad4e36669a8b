package agent

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"wick/framing"
)

// survivor is the host's half of a process that outlives its connections: what it has of each output, and what the guest has of the input.
type survivor struct {
	*box
	random  *rand.Rand
	h       *host
	id      uint64
	seq     uint32
	input   []byte
	taken   int  // of the input, as the guest said
	sent    int  // of it
	granted int  // up to where it may be sent
	ended   bool // the close was sent
	started bool // there is a channel
	out     [3][]byte
	window  [3]int // bytes that may be under way
	due     [3]int // bytes that came and were not granted
	closed  [3]bool
	exited  *framing.Exited
	losses  int
}

func (s *survivor) start(command string) {
	s.h, s.seq = s.extended(), 1
	s.h.send(framing.AppendStart(nil, s.seq, &framing.Start{
		ID: s.id, Shell: true, Args: words(command), Stdin: true, KeepMS: framing.KeepForEver,
		OutputCredit: s.credit(1), ErrorsCredit: s.credit(2),
	}))
}

// credit is what a connection begins with.
func (s *survivor) credit(stream int) uint32 {
	n := 1 + s.random.IntN(100_000)
	if s.random.IntN(2) == 0 {
		n = 1 + s.random.IntN(100)
	}
	s.window[stream], s.due[stream] = min(n, 64<<10), 0
	return uint32(n)
}

// lose ends the connection, in whatever it is in the middle of, and asks for the process again on another.
func (s *survivor) lose() {
	s.losses++
	if old := s.h; s.random.IntN(4) > 0 {
		old.Close()
	} else {
		defer old.Close() // the new one takes it from the old one
	}
	s.h, s.started, s.ended, s.closed = s.extended(), false, false, [3]bool{}
	s.seq++
	s.h.send(framing.AppendAttach(nil, s.seq, &framing.Attach{
		ID: s.id, Output: uint64(len(s.out[1])), Errors: uint64(len(s.out[2])),
		OutputCredit: s.credit(1), ErrorsCredit: s.credit(2),
	}))
	s.turn()
}

// feed sends some input, if it may.
func (s *survivor) feed() {
	n := min(s.granted, len(s.input)) - s.sent
	if n > 0 {
		n = 1 + s.random.IntN(n)
		frame := framing.AppendHeader(nil, framing.TypeInput, s.seq, n)
		s.h.send(append(frame, s.input[s.sent:s.sent+n]...))
		s.sent += n
	}
	if s.sent == len(s.input) && !s.ended {
		s.ended = true
		s.h.send(framing.AppendClose(nil, s.seq, framing.StreamInput))
	}
}

// turn takes a frame, and answers it.
func (s *survivor) turn() {
	t, seq, payload := s.h.read()
	if seq != s.seq {
		s.Fatalf("%v seq %d %.100q, want seq %d", t, seq, payload, s.seq)
	}
	switch t {
	case framing.TypeStarted:
		r, err := framing.ParseStarted(payload)
		if err != nil || int(r.Taken) < s.taken || int(r.Taken) > max(s.sent, s.taken) {
			s.Fatalf("%+v, %v; %d bytes were sent, %d taken before", r, err, s.sent, s.taken)
		}
		s.taken, s.sent, s.granted, s.started = int(r.Taken), int(r.Taken), int(r.Taken)+int(r.Credit), true
	case framing.TypeCredit:
		_, n, _ := framing.ParseCredit(payload)
		s.granted += int(n)
	case framing.TypeOutput:
		stream, data, _ := framing.ParseOutput(payload)
		s.out[stream] = append(s.out[stream], data...)
		if s.due[stream] += len(data); s.random.IntN(3) == 0 || s.due[stream] == s.window[stream] {
			s.h.send(framing.AppendCredit(nil, s.seq, stream, uint32(s.due[stream])))
			s.due[stream] = 0
		}
	case framing.TypeClose:
		stream, _ := framing.ParseClose(payload)
		s.closed[stream] = true
	case framing.TypeExited:
		s.exited = &framing.Exited{}
		framing.ParseExited(payload, s.exited)
	default:
		s.Fatalf("%v %.200q", t, payload)
	}
	if s.started {
		s.feed()
	}
}

// TestLostAndAttached has a process echo what it is sent, twice, while its connection is lost again and again at any moment: every byte is
// there, once, in both directions.
func TestLostAndAttached(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	losses := 0
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := survivor{box: b, random: rand.New(rand.NewPCG(seed, 1)), id: seed + 1}
			s.input = make([]byte, 3_000_000)
			for i := range s.input {
				s.input[i] = byte(s.random.Uint32())
			}
			s.start("exec tee /dev/stderr")
			for s.exited == nil {
				if s.losses < 150 && s.random.IntN(8) == 0 {
					s.lose()
				}
				s.turn()
			}
			losses += s.losses
			for stream := 1; stream <= 2; stream++ {
				if !bytes.Equal(s.out[stream], s.input) || !s.closed[stream] {
					t.Errorf("stream %d: %d bytes, closed %v, of %d", stream, len(s.out[stream]), s.closed[stream], len(s.input))
				}
			}
			if s.exited.Code != 0 || s.exited.Output != uint64(len(s.input)) || s.exited.OutputDropped != 0 {
				t.Errorf("%+v", s.exited)
			}
			s.h.send(framing.AppendFrame(nil, framing.TypeRelease, s.seq, nil))
			b.until("released", func(a *Agent) bool { return len(a.sessions) == 0 })
			s.h.Close()
		})
	}
	t.Logf("%d connections lost", losses)
	b.until("nothing held", func(a *Agent) bool { return len(a.conns) == 0 })
	b.quiet(0)
}
