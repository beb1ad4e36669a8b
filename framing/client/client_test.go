package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"wick/framing"
)

func TestRequests(t *testing.T) {
	c, _ := dialed(t)
	ctx := testContext(t)
	if rtt, err := c.Ping(ctx); err != nil || rtt <= 0 {
		t.Errorf("ping: %v, %v", rtt, err)
	}
	r, err := c.Exec(ctx, Exec{Command: `printf "$A"; printf b >&2; exit 7`, Env: []string{"A=1=2", "B="}})
	if err != nil || r.ExitCode != 7 || string(r.Stdout) != "1=2" || string(r.Stderr) != "b" {
		t.Errorf("exec: %+v, %v", r, err)
	}
	r, err = c.Exec(ctx, Exec{Command: "sleep 60", Timeout: time.Nanosecond})
	if err != nil || r.ExitCode != 124 {
		t.Errorf("exec: %+v, %v", r, err)
	}
	pid, err := c.Spawn(ctx, Exec{Command: "echo out; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.WaitExit(ctx, pid)
	if err != nil || e.PID != pid || e.ExitCode != 3 || string(e.Stdout) != "out\n" {
		t.Errorf("exit: %+v, %v", e, err)
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestLargestResult(t *testing.T) {
	c, _ := dialed(t)
	r, err := c.Exec(testContext(t), Exec{Command: fmt.Sprintf("head -c %d /dev/zero", framing.MaxOutput)})
	if err != nil || len(r.Stdout) != framing.MaxOutput {
		t.Fatalf("%d bytes, %v", len(r.Stdout), err)
	}
}

func TestConcurrentExecs(t *testing.T) {
	c, _ := dialed(t)
	ctx := testContext(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 3 {
				want := fmt.Sprint(i)
				r, err := c.Exec(ctx, Exec{Command: "echo $N", Env: []string{"N=" + want}})
				if err != nil || string(r.Stdout) != want+"\n" {
					t.Errorf("exec %d: %+v, %v", i, r, err)
				}
				if _, err := c.Ping(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestRepliesOutOfOrder(t *testing.T) {
	c, p := pair(t)
	ctx := testContext(t)
	const n = 16
	results := make([]<-chan outcome[*Result], n)
	for i := range results {
		results[i] = background(func() (*Result, error) { return c.Exec(ctx, Exec{Command: fmt.Sprint(i)}) })
	}
	var replies [][]byte
	for range n {
		seq, payload := p.expect(framing.TypeExec)
		var e framing.Exec
		if err := framing.ParseExec(framing.TypeExec, payload, &e); err != nil {
			t.Fatal(err)
		}
		replies = append(replies, framing.AppendExecResult(nil, seq, &framing.ExecResult{Stdout: e.Command}))
	}
	for i := range replies {
		p.send(replies[n-1-i])
	}
	for i, r := range results {
		if got := string((<-r).must(t).Stdout); got != fmt.Sprint(i) {
			t.Errorf("exec %d got the result of %s", i, got)
		}
	}
}

func TestErrorFrame(t *testing.T) {
	c, p := pair(t)
	r := background(func() (*Result, error) { return c.Exec(testContext(t), Exec{}) })
	seq, _ := p.expect(framing.TypeExec)
	p.send(framing.AppendError(nil, seq+100, "for nobody"))
	p.send(framing.AppendError(nil, seq, "too many commands running (limit 256)"))
	err := (<-r).err
	e, ok := errors.AsType[*RemoteError](err)
	if !ok || e.Seq != seq || e.Message != "too many commands running (limit 256)" {
		t.Errorf("got %v", err)
	}
	if c.Err() != nil {
		t.Errorf("the connection ended: %v", c.Err())
	}
}

func TestCancelledCallIsForgotten(t *testing.T) {
	c, p := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	r := background(func() (*Result, error) { return c.Exec(ctx, Exec{}) })
	late, _ := p.expect(framing.TypeExec)
	cancel()
	if err := (<-r).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(c.pending) != 0 {
		t.Errorf("still waiting for %v", c.pending)
	}
	ping := background(func() (time.Duration, error) { return c.Ping(testContext(t)) })
	seq, _ := p.expect(framing.TypePing)
	// The late reply is longer than the read buffer, so it is not even held.
	p.send(framing.AppendExecResult(nil, late, &framing.ExecResult{Stdout: make([]byte, 3*readBuffer)}))
	p.pong(seq)
	(<-ping).must(t)
	if _, err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context has ended: %v", err)
	}
	p.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, _ := p.conn.Read(make([]byte, 1)); n > 0 {
		t.Error("a call whose context had ended was sent")
	}
}

// TestCancelRacesReply checks that a call ends with its own reply or its cancellation, and never
// with another's reply.
func TestCancelRacesReply(t *testing.T) {
	c, _ := dialed(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Microsecond)
				if _, err := c.Ping(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestCut lets the guest leave in each state that a call can be in.
func TestCut(t *testing.T) {
	for name, leave := range map[string]func(p *peer, seq uint32){
		"between frames":   func(p *peer, seq uint32) {},
		"within a header":  func(p *peer, seq uint32) { p.send([]byte{0, 0, 0}) },
		"within a payload": func(p *peer, seq uint32) { p.send(framing.AppendExecResultHead(nil, seq, 0, 5, 0)) },
		"within a long payload": func(p *peer, seq uint32) {
			p.send(framing.AppendExecResultHead(nil, seq, 0, 5*readBuffer, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := pair(t)
			exec := background(func() (*Result, error) { return c.Exec(testContext(t), Exec{}) })
			seq, _ := p.expect(framing.TypeExec)
			exit := background(func() (*Exit, error) { return c.WaitExit(testContext(t), 1) })
			leave(p, seq)
			p.conn.Close()
			want := io.EOF
			if name != "between frames" {
				want = io.ErrUnexpectedEOF
			}
			for _, err := range []error{(<-exec).err, (<-exit).err} {
				if !isType[*ConnError](err) || !errors.Is(err, want) {
					t.Errorf("got %v", err)
				}
			}
			<-c.Done()
			if !isType[*ConnError](c.Err()) {
				t.Errorf("Err is %v", c.Err())
			}
			if _, err := c.Ping(testContext(t)); !isType[*ConnError](err) {
				t.Errorf("a later call: %v", err)
			}
			c.Close()
			if !isType[*ConnError](c.Err()) {
				t.Errorf("after Close, Err is %v", c.Err())
			}
		})
	}
}

// TestRepliesBeforeTheEndCount lets a guest reply and leave at once, while this side is still
// sending.
func TestRepliesBeforeTheEndCount(t *testing.T) {
	c, p := pair(t)
	exec := background(func() (*Result, error) { return c.Exec(testContext(t), Exec{Command: "x"}) })
	seq, _ := p.expect(framing.TypeExec)
	write := background(func() (int, error) {
		return 0, c.WriteFile(testContext(t), "/f", zeros{}, 8<<20, WriteFileOptions{})
	})
	if _, err := p.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	p.send(framing.AppendExecResult(nil, seq, &framing.ExecResult{ExitCode: 5}))
	p.send(framing.AppendError(nil, 0, "frame length 4 is outside 5..16777216"))
	p.conn.Close()
	if r := (<-exec).must(t); r.ExitCode != 5 {
		t.Errorf("got %+v", r)
	}
	err := (<-write).err
	if last, ok := errors.AsType[*RemoteError](err); !ok || last.Seq != 0 || !isType[*ConnError](err) {
		t.Errorf("got %v", err)
	}
}

func TestGarbage(t *testing.T) {
	for name, encode := range map[string]func(seq uint32) []byte{
		"length 4":          func(uint32) []byte { return []byte{0, 0, 0, 4} },
		"length 16 MiB + 1": func(uint32) []byte { return []byte{1, 0, 0, 1} },
		"short result":      func(seq uint32) []byte { return framing.AppendFrame(nil, framing.TypeExecResult, seq, []byte{1}) },
		"count": func(seq uint32) []byte {
			return framing.AppendFrame(nil, framing.TypeExecResult, seq, []byte{11: 9})
		},
		"wrong reply":      func(seq uint32) []byte { return framing.AppendFrame(nil, framing.TypePong, seq, nil) },
		"reply with seq 0": func(uint32) []byte { return framing.AppendFrame(nil, framing.TypePong, 0, nil) },
		"bad error":        func(seq uint32) []byte { return framing.AppendFrame(nil, framing.TypeError, seq, []byte{0, 9}) },
		"exit with a seq":  func(seq uint32) []byte { return framing.AppendFrame(nil, framing.TypeProcessExit, seq, []byte{15: 0}) },
		"short exit":       func(uint32) []byte { return framing.AppendFrame(nil, framing.TypeProcessExit, 0, []byte{1}) },
		"second ready":     func(uint32) []byte { return framing.AppendFrame(nil, framing.TypeReady, 0, nil) },
		"host's frame":     func(uint32) []byte { return framing.AppendFrame(nil, framing.TypePing, 1, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := pair(t)
			exec := background(func() (*Result, error) { return c.Exec(testContext(t), Exec{}) })
			seq, _ := p.expect(framing.TypeExec)
			p.send(encode(seq))
			if err := (<-exec).err; !isType[*ConnError](err) || !isType[*ProtocolError](err) {
				t.Errorf("got %v", err)
			}
			p.expectEnd()
		})
	}
}

func TestUnknownTypesAreLeftAlone(t *testing.T) {
	c, p := pair(t)
	p.send(framing.AppendFrame(nil, 0x5e, 0, []byte("extension")))
	p.send(framing.AppendFrame(nil, 0x5f, 9, make([]byte, 2*readBuffer)))
	ping := background(func() (time.Duration, error) { return c.Ping(testContext(t)) })
	seq, _ := p.expect(framing.TypePing)
	p.pong(seq)
	(<-ping).must(t)
}

func TestClose(t *testing.T) {
	c, p := pair(t)
	ping := background(func() (time.Duration, error) { return c.Ping(context.Background()) })
	p.expect(framing.TypePing)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	<-c.Done()
	if err := (<-ping).err; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Ping(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("a later call: %v", err)
	}
	if c.Err() != ErrClosed {
		t.Errorf("Err is %v", c.Err())
	}
	p.expectEnd()
}

// TestGuestThatDoesNotRead checks that contexts and Close end calls although the guest does not
// read.
func TestGuestThatDoesNotRead(t *testing.T) {
	c, _ := pair(t)
	big := strings.Repeat("x", 8<<20)
	sent := background(func() (*Result, error) { return c.Exec(context.Background(), Exec{Command: big}) })
	// The second waits for room in the queue once the first is stuck, or else for a reply; both
	// end.
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := c.Exec(ctx, Exec{Command: big}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	write := background(func() (int, error) {
		return 0, c.WriteFile(context.Background(), "/f", zeros{}, 8<<20, WriteFileOptions{})
	})
	c.Close()
	for _, err := range []error{(<-sent).err, (<-write).err} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRequestsThatCannotBeSent(t *testing.T) {
	c, p := pair(t)
	for _, e := range []Exec{
		{Timeout: -1},
		{Timeout: (math.MaxUint32 + 1) * time.Millisecond},
		{Timeout: math.MaxUint32*time.Millisecond + 1},
		{Env: []string{"A"}},
		{Env: []string{"=A"}},
		{Command: strings.Repeat("x", framing.MaxPayload-7)},
	} {
		if _, err := c.Exec(testContext(t), e); !isType[*RequestError](err) {
			t.Errorf("exec: %v", err)
		}
		if _, err := c.Spawn(testContext(t), e); !isType[*RequestError](err) {
			t.Errorf("spawn: %v", err)
		}
	}
	c.Close()
	if n := p.expectEnd(); n > 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestTimeoutIsRoundedUp(t *testing.T) {
	for timeout, want := range map[time.Duration]uint32{
		0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, math.MaxUint32 * time.Millisecond: math.MaxUint32,
	} {
		w, err := (&Exec{Timeout: timeout}).wire(framing.TypeExec)
		if err != nil || w.TimeoutMS != want {
			t.Errorf("%v: got %v, %v", timeout, w, err)
		}
	}
}

func TestSeqSkips(t *testing.T) {
	c, _ := dialed(t)
	c.mu.Lock()
	c.seq = math.MaxUint32 - 1
	c.pending[1] = newCall(framing.TypePong)
	c.mu.Unlock()
	for _, want := range []uint32{math.MaxUint32, 2} {
		if _, err := c.Ping(testContext(t)); err != nil || c.seq != want {
			t.Errorf("seq %d, want %d: %v", c.seq, want, err)
		}
	}
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
