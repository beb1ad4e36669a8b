package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/framing"
)

// output returns an output frame.
func output(seq uint32, s framing.Stream, content string) []byte {
	return append(framing.AppendOutputHead(nil, seq, s, len(content)), content...)
}

// starting starts cmd in the background, with a guest whose frames the test sends, up to its start.
func starting(t *testing.T, cmd *Cmd, p *peer) (<-chan outcome[*Receipt], uint32, *framing.Start) {
	t.Helper()
	run := background(func() (*Receipt, error) { return cmd.Run(testContext(t)) })
	p.hello(everything)
	seq, payload := p.expect(framing.TypeStart)
	var s framing.Start
	if err := framing.ParseStart(payload, &s); err != nil {
		t.Fatal(err)
	}
	return run, seq, &s
}

// TestGuestBreaksTheProtocol checks that a violation in a process's channel ends the connection.
func TestGuestBreaksTheProtocol(t *testing.T) {
	started := func(seq uint32) []byte { return framing.AppendStarted(nil, seq, framing.Started{PID: 5, Credit: 10}) }
	for name, frames := range map[string]func(seq uint32) [][]byte{
		"more than credit":      func(seq uint32) [][]byte { return [][]byte{started(seq), output(seq, 1, strings.Repeat("x", 101))} },
		"more than its cap":     func(seq uint32) [][]byte { return [][]byte{started(seq), output(seq, 1, strings.Repeat("x", 61))} },
		"output before started": func(seq uint32) [][]byte { return [][]byte{output(seq, 1, "x")} },
		"a stream that is not":  func(seq uint32) [][]byte { return [][]byte{started(seq), output(seq, 2, "x")} },
		"output behind its end": func(seq uint32) [][]byte {
			return [][]byte{started(seq), framing.AppendClose(nil, seq, 1), output(seq, 1, "x")}
		},
		"a second started": func(seq uint32) [][]byte { return [][]byte{started(seq), started(seq)} },
		"a short started": func(seq uint32) [][]byte {
			return [][]byte{framing.AppendFrame(nil, framing.TypeStarted, seq, []byte{1})}
		},
		"a short exited": func(seq uint32) [][]byte {
			return [][]byte{started(seq), framing.AppendFrame(nil, framing.TypeExited, seq, []byte{1})}
		},
		"output without stream": func(seq uint32) [][]byte {
			return [][]byte{started(seq), framing.AppendFrame(nil, framing.TypeOutput, seq, nil)}
		},
		"a close of no stream": func(seq uint32) [][]byte { return [][]byte{started(seq), framing.AppendClose(nil, seq, 9)} },
		"a short credit": func(seq uint32) [][]byte {
			return [][]byte{started(seq), framing.AppendFrame(nil, framing.TypeCredit, seq, []byte{0, 1})}
		},
		"another's message": func(seq uint32) [][]byte {
			return [][]byte{started(seq), framing.AppendFigures(nil, seq, framing.Figures{})}
		},
		"a bad error": func(seq uint32) [][]byte {
			return [][]byte{framing.AppendFrame(nil, framing.TypeError, seq, []byte{0, 9})}
		},
		"a host's message":       func(seq uint32) [][]byte { return [][]byte{started(seq), framing.AppendResize(nil, seq, 1, 2)} },
		"a done with no payload": func(seq uint32) [][]byte { return [][]byte{framing.AppendFrame(nil, framing.TypeDone, seq, nil)} },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := pair(t)
			cmd := c.Command("x")
			cmd.Merge, cmd.Window, cmd.Cap, cmd.Stdin = true, 100, 60, &pattern{}
			run, seq, s := starting(t, cmd, p)
			if s.OutputCredit != 100 || s.ErrorsCredit != 0 || !s.Merge || !s.Stdin {
				t.Errorf("start %+v", s)
			}
			for _, frame := range frames(seq) {
				p.send(frame)
			}
			if err := (<-run).err; !isType[*ConnError](err) || !isType[*ProtocolError](err) {
				t.Errorf("got %v", err)
			}
			p.expectEnd()
		})
	}
}

// TestTornOutput hands on the output that arrived whole.
func TestTornOutput(t *testing.T) {
	c, p := pair(t)
	cmd := c.Command("x")
	var out bytes.Buffer
	cmd.Stdout = &out
	run, seq, _ := starting(t, cmd, p)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	p.send(output(seq, 1, "whole"))
	torn := output(seq, 1, "torn")
	p.send(torn[:len(torn)-1])
	p.conn.Close()
	if err := (<-run).err; !isType[*ConnError](err) || !errors.Is(err, io.ErrUnexpectedEOF) || out.String() != "whole" {
		t.Errorf("got %v, %q", err, out.String())
	}
}

// TestNoCredit checks that missing credit for stdin blocks only stdin.
func TestNoCredit(t *testing.T) {
	c, p := pair(t)
	cmd := c.Command("x")
	cmd.Stdin = &pattern{}
	run, seq, _ := starting(t, cmd, p)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	ping := background(func() (time.Duration, error) { return c.Ping(testContext(t)) })
	p.pong(first(p.expect(framing.TypePing)))
	(<-ping).must(t)
	p.send(framing.AppendCredit(nil, seq, framing.StreamInput, 3))
	if _, payload := p.expect(framing.TypeInput); len(payload) != 3 {
		t.Errorf("%d bytes for a credit of 3", len(payload))
	}
	p.send(framing.AppendExited(nil, seq, &framing.Exited{Code: 2}))
	if r := <-run; r.v == nil || r.v.Code != 2 {
		t.Errorf("got %+v, %v", r.v, r.err)
	}
	// Frames of a channel that has ended are dropped.
	p.send(output(seq, 1, "late"))
	p.send(framing.AppendCredit(nil, seq, framing.StreamInput, 3))
	ping = background(func() (time.Duration, error) { return c.Ping(testContext(t)) })
	p.pong(first(p.expect(framing.TypePing)))
	(<-ping).must(t)
}

func first[A, B any](a A, _ B) A { return a }

// TestStartThatIsNotAnswered abandons a start with its context: the process is killed and released.
func TestStartThatIsNotAnswered(t *testing.T) {
	c, p := pair(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cmd := c.Command("x")
	cmd.Keep = time.Minute
	start := background(func() (int, error) { return 0, cmd.Start(ctx) })
	p.hello(everything)
	seq, _ := p.expect(framing.TypeStart)
	cancel()
	if err := (<-start).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_, payload := p.expect(framing.TypeSignal)
	if s, err := framing.ParseSignal(payload); err != nil || s != (framing.Signal{ID: cmd.ID(), Signal: 9, Scope: framing.ScopeTree}) {
		t.Errorf("got %+v, %v", s, err)
	}
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	p.send(output(seq, 1, "for nobody"))
	p.send(framing.AppendExited(nil, seq, &framing.Exited{Reason: framing.ReasonCancelled, Code: 137}))
	if s, _ := p.expect(framing.TypeRelease); s != seq {
		t.Errorf("released %d, want %d", s, seq)
	}
}

// TestStartRefused has a guest that refuses the start with an error frame.
func TestStartRefused(t *testing.T) {
	c, p := pair(t)
	run, seq, _ := starting(t, c.Command("x"), p)
	p.send(framing.AppendError(nil, seq, "too many commands running (limit 256)"))
	if err := (<-run).err; !isType[*RemoteError](err) || !strings.HasPrefix(err.Error(), "start x: ") {
		t.Errorf("got %v", err)
	}
	pong := background(func() (int, error) { noChannels(t, c); return 0, nil })
	p.pong(first(p.expect(framing.TypePing)))
	<-pong
}

// TestAttachGoesWhereItIsTold attaches where the guest says that its output begins.
func TestAttachGoesWhereItIsTold(t *testing.T) {
	c, p := pair(t)
	attach := background(func() (*Cmd, error) { return c.Attach(testContext(t), 7, AttachOptions{Stdout: 5}) })
	p.hello(everything)
	for _, step := range []struct {
		want  framing.Attach
		errno syscall.Errno
		value uint64
	}{
		{framing.Attach{ID: 7, Output: 5}, syscall.EINVAL, 100},
		{framing.Attach{ID: 7, Output: 100}, syscall.ERANGE, 30},
		{framing.Attach{ID: 7, Output: 100, Errors: 30}, syscall.EINVAL, 120},
		// which leads nowhere
		{framing.Attach{ID: 7, Output: 120, Errors: 30}, syscall.EINVAL, 120},
	} {
		seq, payload := p.expect(framing.TypeAttach)
		step.want.OutputCredit, step.want.ErrorsCredit = MaxKeptWindow, MaxKeptWindow
		if got, err := framing.ParseAttach(payload); err != nil || got != step.want {
			t.Errorf("got %+v, want %+v, %v", got, step.want, err)
		}
		p.send(framing.AppendDone(nil, seq, uint32(step.errno), step.value, "not held"))
	}
	if err := (<-attach).err; !errors.Is(err, syscall.EINVAL) || !isType[*OpError](err) {
		t.Errorf("got %v", err)
	}
}

// TestConfirmsNoMoreThanArrived takes output of an earlier connection while output of the new one
// is in flight. It must not be granted then: the guest would think that the new output has arrived.
func TestConfirmsNoMoreThanArrived(t *testing.T) {
	c, p := pair(t)
	b := newInbox(framing.StreamOutput, 100)
	b.resume(remote{c, 1})
	b.opened()
	if err := b.receive(make([]byte, 60)); err != nil {
		t.Fatal(err)
	}
	b.fail(io.EOF)
	if credit, received := b.resume(remote{c, 2}); credit != 40 || received != 60 {
		t.Errorf("credit %d, received %d", credit, received)
	}
	b.opened()
	if n, err := io.ReadFull(b, make([]byte, 60)); n != 60 || err != nil {
		t.Fatal(n, err)
	}
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := p.in.Peek(1); err == nil {
		t.Error("it was granted")
	}
	// It is granted once nothing can be in flight.
	if err := b.receive(make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(b, make([]byte, 40)); n != 40 || err != nil {
		t.Fatal(n, err)
	}
	seq, payload := p.expect(framing.TypeCredit)
	if s, n, err := framing.ParseCredit(payload); err != nil || seq != 2 || s != framing.StreamOutput || n != 100 {
		t.Errorf("granted %d of %d on %d, %v", n, s, seq, err)
	}
}

// TestLostDuringFiles checks that the error of a lost connection has the path.
func TestLostDuringFiles(t *testing.T) {
	c, p := pair(t)
	read := background(func() ([]byte, error) { return c.ReadFile(testContext(t), "/f") })
	p.hello(everything)
	seq, _ := p.expect(framing.TypeRead)
	list := background(func() ([]*FileInfo, error) { return c.ReadDir(testContext(t), "/d") })
	torn, _ := p.expect(framing.TypeList)
	write := background(func() (int64, error) { return c.WriteStream(testContext(t), "/w", &pattern{}, WriteOptions{}) })
	open, _ := p.expect(framing.TypeWrite)
	stat := background(func() (*FileInfo, error) { return c.Stat(testContext(t), "/s") })
	p.expect(framing.TypeStat)
	p.send(output(seq, 1, "begun"))
	p.send(output(torn, 1, "half an entry"))
	p.send(framing.AppendCredit(nil, open, 0, 10))
	p.expect(framing.TypeInput)
	p.conn.Close()
	for path, err := range map[string]error{"/f": (<-read).err, "/d": (<-list).err, "/w": (<-write).err, "/s": (<-stat).err} {
		if !isType[*ConnError](err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestListThatIsNone checks that a malformed list ends the connection.
func TestListThatIsNone(t *testing.T) {
	name := func(name string) string {
		return string(framing.AppendFileInfo(nil, &framing.FileInfo{Name: []byte(name)}))
	}
	for what, content := range map[string]string{"torn": "half an entry", "a path": name("a/b"), "above": name(".."), "nothing": name("")} {
		c, p := pair(t)
		list := background(func() ([]*FileInfo, error) { return c.ReadDir(testContext(t), "/d") })
		p.hello(everything)
		seq, _ := p.expect(framing.TypeList)
		p.send(output(seq, 1, content))
		p.send(framing.AppendDone(nil, seq, 0, 1, ""))
		if err := (<-list).err; !isType[*ProtocolError](err) || c.Err() == nil {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
