package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// FuzzSession gives an agent that was greeted a stream of frames about processes, in pieces, and holds what comes back against the rules of
// channels: every request is answered, output stays within its credit and comes before its close, exited is the last of a channel; and
// afterwards nothing is left.
func FuzzSession(f *testing.F) {
	for _, stream := range sessionStreams() {
		for _, cuts := range [][]byte{nil, {1}, {3, 200, 7}} {
			f.Add(stream, cuts)
		}
	}
	a := startFuzzed(f)
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		s := sessionFuzz{channels: map[uint32]*fuzzChannel{}, credit: map[uint32][3]uint64{}}
		s.tame(stream)
		s.play(t, a, cuts)
		a.rest(t)
	})
}

// sessionStreams are what fuzzing begins with.
func sessionStreams() (all [][]byte) {
	start := func(seq uint32, s framing.Start) []byte {
		s.ID, s.OutputCredit, s.ErrorsCredit = uint64(seq), 1000, 10
		return framing.AppendStart(nil, seq, &s)
	}
	input := func(seq uint32, n int) []byte {
		return append(framing.AppendHeader(nil, framing.TypeInput, seq, n), make([]byte, n)...)
	}
	var limits framing.Limits
	limits.Add(framing.Limit{Resource: 7, Soft: 10, Hard: 10})
	all = [][]byte{
		start(1, framing.Start{Shell: true, Args: words("0")}),
		start(2, framing.Start{Args: words("a", "bc", "d"), Stdin: true, KeepMS: 5}),
		start(3, framing.Start{Args: words("abcdef"), Stdin: true, Terminal: true, Rows: 10, Columns: 20}),
		start(4, framing.Start{Args: words("abcdefgh"), Merge: true, Only: true, Cap: 100, User: []byte("0"), Dir: []byte("/tmp")}),
		start(5, framing.Start{Args: words("x"), Limits: limits}),
		start(6, framing.Start{Args: words("x"), User: []byte("nobody at all")}),
		input(2, 100), input(3, 40000), input(9, 10),
		framing.AppendCredit(nil, 1, 1, 1<<20), framing.AppendCredit(nil, 3, 1, 5), framing.AppendClose(nil, 2, 0), framing.AppendClose(nil, 4, 1),
		framing.AppendResize(nil, 3, 5, 6), framing.AppendSignal(nil, 7, framing.Signal{ID: 3, Signal: 9, Scope: 2}),
		framing.AppendAttach(nil, 8, &framing.Attach{ID: 2, OutputCredit: 1 << 20}), framing.AppendFrame(nil, framing.TypeRelease, 2, nil),
		framing.AppendFrame(nil, framing.TypeProcesses, 9, nil), framing.AppendFrame(nil, framing.TypePing, 10, nil),
		framing.AppendHello(nil, 11, 1), {0, 0, 0, 4},
	}
	return append(all, bytes.Join(all, nil), bytes.Join(all[:7], nil), bytes.Join(all[1:3], nil))
}

// sessionFuzz is a stream that does no harm, and what must come of it.
type sessionFuzz struct {
	out      []byte
	asked    int  // requests that are answered
	refusal  bool // it may end the connection
	credit   map[uint32][3]uint64
	channels map[uint32]*fuzzChannel
}

// fuzzChannel is a channel as its host sees it. A seq may come to be one again.
type fuzzChannel struct {
	started bool
	closed  [3]bool
	sent    [3]uint64
}

// tame takes the stream's frames of processes. A command that would run becomes one of a few, and is not kept for long.
func (s *sessionFuzz) tame(b []byte) {
	s.ask(framing.AppendHello(nil, 1000, 1))
	for len(b) >= framing.HeaderSize {
		length := binary.BigEndian.Uint32(b)
		if length < framing.MinLength || int(length) > len(b)-4 {
			break
		}
		t, seq, payload := framing.Type(b[4]), binary.BigEndian.Uint32(b[5:]), b[framing.HeaderSize:4+length]
		b = b[4+length:]
		s.frame(t, seq%50, payload)
	}
	if len(b) >= 4 && binary.BigEndian.Uint32(b) < framing.MinLength {
		s.refusal = true
		s.out = append(s.out, b[:4]...)
	}
}

func (s *sessionFuzz) ask(frame []byte) {
	s.asked++
	s.out = append(s.out, frame...)
}

func (s *sessionFuzz) grant(seq uint32, stream framing.Stream, n uint32) {
	c := s.credit[seq]
	c[stream] += uint64(n)
	s.credit[seq] = c
}

func (s *sessionFuzz) frame(t framing.Type, seq uint32, payload []byte) {
	frame := append(framing.AppendHeader(nil, t, seq, len(payload)), payload...)
	switch t {
	case framing.TypeStart:
		var r framing.Start
		if len(payload) <= 64<<10-framing.HeaderSize && framing.ParseStart(payload, &r) == nil {
			s.grant(seq, framing.StreamOutput, r.OutputCredit)
			s.grant(seq, framing.StreamErrors, r.ErrorsCredit)
			frame = framing.AppendStart(nil, seq, tameStart(&r))
		}
		s.ask(frame)
	case framing.TypeAttach:
		if r, err := framing.ParseAttach(payload); err == nil {
			r.ID %= 50
			r.ID++
			s.grant(seq, framing.StreamOutput, r.OutputCredit)
			s.grant(seq, framing.StreamErrors, r.ErrorsCredit)
			frame = framing.AppendAttach(nil, seq, &r)
		}
		s.ask(frame)
	case framing.TypeSignal:
		// What is stopped would outlive a fuzzing process that is killed.
		if r, err := framing.ParseSignal(payload); err == nil && r.Signal == uint8(unix.SIGSTOP) {
			r.Signal = uint8(unix.SIGWINCH)
			frame = framing.AppendSignal(nil, seq, r)
		}
		s.ask(frame)
	case framing.TypeProcesses, framing.TypePing, framing.TypeHello:
		s.ask(frame)
	case framing.TypeInput:
		s.refusal = true
		s.out = append(s.out, frame...)
	case framing.TypeCredit, framing.TypeClose, framing.TypeResize:
		var err error
		switch t {
		case framing.TypeCredit:
			var stream framing.Stream
			var n uint32
			if stream, n, err = framing.ParseCredit(payload); err == nil {
				s.grant(seq, stream, n)
			}
		case framing.TypeClose:
			_, err = framing.ParseClose(payload)
		default:
			_, _, err = framing.ParseResize(payload)
		}
		if err != nil {
			s.asked++
		}
		s.out = append(s.out, frame...)
	case framing.TypeRelease:
		s.out = append(s.out, frame...)
	}
}

// tameStart makes a start one that does no harm.
func tameStart(r *framing.Start) *framing.Start {
	n := 0
	for word := range r.Args.All {
		n += len(word)
	}
	// What a signal leaves running must come to its end by itself.
	command := append(harmless[:len(harmless)-1:len(harmless)-1], "exec yes", "cat; exit 4", "exec sleep 1000")
	r.Shell, r.Args = true, words(command[n%len(command)])
	r.ID = r.ID%50 + 1
	r.TimeoutMS = 1 + r.TimeoutMS%30
	r.KeepMS %= 20
	r.Env = framing.Env{}
	if len(r.Dir) > 0 {
		r.Dir = []byte("/")
	}
	if len(r.User) > 0 && r.User[0] != 'n' {
		r.User = []byte("0")
	}
	return r
}

// play sends what was tamed and reads until all is answered.
func (s *sessionFuzz) play(t *testing.T, a *fuzzed, cuts []byte) {
	c, err := net.Dial("unix", filepath.Join(a.dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(fuzzLimit))
	a.control.SetDeadline(time.Now().Add(fuzzLimit))
	go func() {
		rest := s.out
		for i := 0; len(cuts) > 0 && len(rest) > 0 && i < 300; i++ {
			n := min(len(rest), 1+int(cuts[i%len(cuts)]))
			c.Write(rest[:n])
			rest = rest[n:]
		}
		c.Write(rest)
	}()
	if typ, _, _, err := readFrame(c); err != nil || typ != framing.TypeReady {
		t.Fatal(typ, err)
	}
	for answers := 0; answers < s.asked; {
		typ, seq, payload, err := readFrame(c)
		if err != nil {
			if s.refusal && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			t.Fatalf("%v, with %d of %d answers", err, answers, s.asked)
		}
		answer, err := s.take(typ, seq, payload)
		if err != nil {
			t.Fatal(err)
		}
		if answer {
			answers++
		}
	}
}

// take takes a frame, and reports whether it answers a request.
func (s *sessionFuzz) take(typ framing.Type, seq uint32, payload []byte) (answer bool, err error) {
	ch := s.channels[seq]
	if ch == nil {
		ch = &fuzzChannel{}
		s.channels[seq] = ch
	}
	bad := func() (bool, error) { return false, fmt.Errorf("%v seq %d %.100q: %+v", typ, seq, payload, *ch) }
	switch typ {
	case framing.TypePong, framing.TypeHelloResult, framing.TypeDone, framing.TypeProcessList:
		return true, nil
	case framing.TypeError:
		text, err := framing.ParseError(payload)
		if string(text) == "attached by another connection" {
			delete(s.channels, seq)
			return false, err
		}
		return true, err
	case framing.TypeStarted:
		if ch.started {
			return bad()
		}
		ch.started = true
		return true, nil
	case framing.TypeOutput:
		stream, data, err := framing.ParseOutput(payload)
		if err != nil || !ch.started || ch.closed[stream] || len(data) == 0 || len(data) > framing.MaxOutputData {
			return bad()
		}
		if ch.sent[stream] += uint64(len(data)); ch.sent[stream] > s.credit[seq][stream] {
			return bad()
		}
	case framing.TypeClose:
		stream, err := framing.ParseClose(payload)
		if err != nil || !ch.started || ch.closed[stream] {
			return bad()
		}
		ch.closed[stream] = true
	case framing.TypeCredit:
		if stream, _, err := framing.ParseCredit(payload); err != nil || stream != framing.StreamInput || !ch.started {
			return bad()
		}
	case framing.TypeExited:
		var r framing.Exited
		if err := framing.ParseExited(payload, &r); err != nil || ch.started != (r.Reason != framing.ReasonNotStarted) ||
			ch.started && !(ch.closed[1] && ch.closed[2]) {
			return bad()
		}
		delete(s.channels, seq) // of a kept one nothing more comes, and it may be attached to again
		return !ch.started, nil
	default:
		return bad()
	}
	return false, nil
}
