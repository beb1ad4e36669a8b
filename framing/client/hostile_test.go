package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/wiretest"
)

// These tests have a hostile or broken guest: this side returns an error in time.

// TestDoneInPlaceOfAnAnswer has a done that reports success but not what was asked.
func TestDoneInPlaceOfAnAnswer(t *testing.T) {
	for name, ask := range map[framing.Type]func(context.Context, *Client) error{
		framing.TypeHello:     func(ctx context.Context, c *Client) error { _, err := c.Hello(ctx); return err },
		framing.TypeStat:      func(ctx context.Context, c *Client) error { _, err := c.Stat(ctx, "/f"); return err },
		framing.TypeStats:     func(ctx context.Context, c *Client) error { _, err := c.Stats(ctx); return err },
		framing.TypeProcesses: func(ctx context.Context, c *Client) error { _, err := c.Processes(ctx); return err },
	} {
		t.Run(name.String(), func(t *testing.T) {
			c, p := pair(t)
			asked := background(func() (int, error) { return 0, ask(testContext(t), c) })
			if name != framing.TypeHello {
				p.hello(everything)
			}
			p.send(framing.AppendDone(nil, first(p.expect(name)), 0, 0, ""))
			if err := (<-asked).err; !isType[*ProtocolError](err) {
				t.Errorf("got %v", err)
			}
			p.expectEnd()
		})
	}
}

// unread returns a client and a guest that reads no more: the socket between them is full, and a
// write blocks. It ends with the test.
func unread(t *testing.T) (*Client, *peer) {
	t.Helper()
	c, p := pair(t)
	asked := background(func() (*Hello, error) { return c.Hello(testContext(t)) })
	p.hello(everything)
	(<-asked).must(t)
	return c, p
}

// clog fills the socket to a guest that does not read.
func clog(t *testing.T, c *Client) {
	t.Helper()
	frame := framing.AppendFrame(nil, framing.TypePing, 0, make([]byte, queueHigh))
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		err := c.enqueue(ctx, len(frame), func(dst []byte) []byte { return append(dst, frame...) })
		cancel()
		if err != nil {
			return
		}
	}
}

// TestWriteToWhoDoesNotRead ends with its context, whatever credit the guest has given.
func TestWriteToWhoDoesNotRead(t *testing.T) {
	c, p := unread(t)
	ctx, cancel := context.WithCancel(testContext(t))
	write := background(func() (int64, error) { return c.WriteStream(ctx, "/f", &pattern{}, WriteOptions{}) })
	seq, _ := p.expect(framing.TypeWrite)
	p.send(framing.AppendCredit(nil, seq, framing.StreamInput, math.MaxUint32))
	clog(t, c)
	cancel()
	select {
	case r := <-write:
		if !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %v", r.err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits on")
	}
}

// TestWriteDoneTooEarly checks that a done before all content was sent is an error.
func TestWriteDoneTooEarly(t *testing.T) {
	c, p := unread(t)
	write := background(func() (int64, error) {
		return c.WriteStream(testContext(t), "/f", strings.NewReader("all"), WriteOptions{})
	})
	seq, _ := p.expect(framing.TypeWrite)
	p.send(framing.AppendCredit(nil, seq, framing.StreamInput, 100))
	p.expect(framing.TypeInput)
	p.expect(framing.TypeClose)
	p.send(framing.AppendDone(nil, seq, 0, 2, ""))
	if err := (<-write).err; !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "/f") {
		t.Errorf("got %v", err)
	}
}

// TestListWithoutEnd is abandoned when it has more than MaxList.
func TestListWithoutEnd(t *testing.T) {
	c, p := unread(t)
	list := background(func() ([]*FileInfo, error) { return c.ReadDir(testContext(t), "/d") })
	seq, _ := p.expect(framing.TypeList)
	var some []byte
	for len(some) < listWindow/2-framing.FileInfoSize-100 {
		some = framing.AppendFileInfo(some, &framing.FileInfo{Name: bytes.Repeat([]byte("x"), 100)})
	}
	frame := output(seq, 1, string(some))
	for sent, credit := 0, listWindow; ; {
		for ; credit >= len(some); credit -= len(some) {
			p.send(frame)
			sent += len(some)
		}
		f, err := wiretest.ReadFrame(p.in)
		if err != nil || sent > MaxList+listWindow {
			t.Fatalf("%v after %d bytes", err, sent)
		}
		if f.Type == wiretest.Close {
			break
		}
		_, n, err := framing.ParseCredit(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		credit += int(n)
	}
	if err := (<-list).err; !errors.Is(err, syscall.EFBIG) {
		t.Errorf("got %v", err)
	}
	// The directories of a tree add up.
	walk := background(func() ([]*FileInfo, error) { room := 1; return c.readDir(testContext(t), "/d", &room) })
	for f := (wiretest.Frame{}); f.Type != wiretest.List; seq = f.Seq { // behind the last credit of the other
		var err error
		if f, err = wiretest.ReadFrame(p.in); err != nil {
			t.Fatal(err)
		}
	}
	p.send(append(output(seq, 1, string(some)), framing.AppendDone(nil, seq, 0, 0, "")...))
	if err := (<-walk).err; !errors.Is(err, syscall.EFBIG) {
		t.Errorf("got %v", err)
	}
}

// TestListNames refuses entries whose names lead out of the directory.
func TestListNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/", "../x"} {
		t.Run(name, func(t *testing.T) {
			c, p := unread(t)
			list := background(func() ([]*FileInfo, error) { return c.ReadDir(testContext(t), "/d") })
			seq, _ := p.expect(framing.TypeList)
			entry := framing.AppendFileInfo(nil, &framing.FileInfo{Name: []byte(name)})
			p.send(append(output(seq, 1, string(entry)), framing.AppendDone(nil, seq, 0, 1, "")...))
			if got := <-list; !isType[*ProtocolError](got.err) {
				t.Errorf("ReadDir with an entry %q: %v, %v; want a *ProtocolError", name, got.v, got.err)
			}
		})
	}
}

// TestReadOfMore checks that more content than was requested is an error.
func TestReadOfMore(t *testing.T) {
	c, p := unread(t)
	read := background(func() ([]byte, error) {
		r, err := c.OpenRead(testContext(t), "/f", 0, 3)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	})
	seq, _ := p.expect(framing.TypeRead)
	p.send(output(seq, framing.StreamOutput, "four"))
	if r := <-read; !isType[*ProtocolError](r.err) || len(r.v) > 0 {
		t.Errorf("got %q, %v", r.v, r.err)
	}
}

// TestWaitForWhoDoesNotRead checks that Wait and Detach end with their context although a last
// frame cannot be sent.
func TestWaitForWhoDoesNotRead(t *testing.T) {
	c, p := unread(t)
	cmd := c.Command("x")
	cmd.Keep = time.Minute
	start := background(func() (int, error) { return 0, cmd.Start(testContext(t)) })
	seq, _ := p.expect(framing.TypeStart)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	(<-start).must(t)
	clog(t, c)
	p.send(framing.AppendExited(nil, seq, &framing.Exited{}))
	for name, call := range map[string]func(context.Context) error{
		"wait":   func(ctx context.Context) error { _, err := cmd.Wait(ctx); return err },
		"detach": func(ctx context.Context) error { cmd.Detach(ctx); return nil },
	} {
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		defer cancel()
		done := background(func() (int, error) { return 0, call(ctx) })
		select {
		case r := <-done:
			if r.err != nil {
				t.Errorf("%s: %v", name, r.err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s waits on", name)
		}
	}
}

// TestFlushToWhoDoesNotRead checks that flush ends with its context, even without the turn to
// write.
func TestFlushToWhoDoesNotRead(t *testing.T) {
	c, _ := unread(t)
	c.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		if _, err := c.conn.Write(make([]byte, queueHigh)); err != nil {
			break
		}
	}
	c.conn.SetWriteDeadline(time.Time{})
	c.mu.Lock()
	c.queue = framing.AppendFrame(c.queue, framing.TypePing, 1, nil)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	flush := background(func() (int, error) { c.flush(ctx); return 0, nil })
	select {
	case <-flush:
	case <-time.After(5 * time.Second):
		t.Error("it waits on")
	}
}

// TestStartOnALostConnection leaves a Cmd whose calls return the error, and that can be reattached.
func TestStartOnALostConnection(t *testing.T) {
	c, p := unread(t)
	p.conn.Close()
	<-c.Done()
	cmd := c.Command("x")
	cmd.Keep = time.Minute
	if err := cmd.Start(testContext(t)); !isType[*ConnError](err) {
		t.Fatalf("got %v", err)
	}
	cmd.Resize(1, 2)
	cmd.Detach(testContext(t))
	if err := cmd.Signal(testContext(t), syscall.SIGHUP); !isType[*ConnError](err) {
		t.Errorf("signal: %v", err)
	}
	again, p := unread(t)
	attach := background(func() (int, error) { return 0, cmd.Reattach(testContext(t), again) })
	p.send(framing.AppendDone(nil, first(p.expect(framing.TypeAttach)), uint32(syscall.ESRCH), 0, "no such process"))
	if err := (<-attach).err; !errors.Is(err, syscall.ESRCH) {
		t.Errorf("attach: %v", err)
	}
}

// TestCancelledButNotEnded has a guest that does not report the end of a process: for this side it
// ends with its context, streams and all.
func TestCancelledButNotEnded(t *testing.T) {
	t.Parallel()
	c, p := unread(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cmd := c.Command("x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := background(func() (int, error) { return 0, cmd.Start(ctx) })
	seq, _ := p.expect(framing.TypeStart)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	(<-start).must(t)
	p.send(output(seq, framing.StreamOutput, "begun"))
	read := background(func() ([]byte, error) { return io.ReadAll(out) })
	write := background(func() (int, error) { return in.Write(make([]byte, 2*outboxLimit)) })
	wait := background(func() (*Receipt, error) { return cmd.Wait(testContext(t)) })
	again := c.Command("x")
	output := background(func() ([]byte, error) { return again.Output(ctx) })
	seq, _ = p.expect(framing.TypeStart)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 6}))
	cancel()
	p.expect(framing.TypeSignal)
	if r := <-read; !errors.Is(r.err, context.Canceled) || string(r.v) != "begun" {
		t.Errorf("read %q, %v", r.v, r.err)
	}
	for what, err := range map[string]error{"write": (<-write).err, "wait": (<-wait).err, "output": (<-output).err} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWaitAgainAndAgain checks that repeated waiting uses no more memory than one wait.
func TestWaitAgainAndAgain(t *testing.T) {
	c, p := pair(t)
	cmd := c.Command("x")
	run, seq, _ := starting(t, cmd, p)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5}))
	for cmd.PID() == 0 {
		runtime.Gosched()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	before := runtime.NumGoroutine()
	for range 100 {
		if _, err := cmd.Wait(ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if now := runtime.NumGoroutine(); now > before+10 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	p.send(framing.AppendExited(nil, seq, &framing.Exited{}))
	(<-run).must(t)
}

// TestTakenOutOfReach has a guest that claims to have taken more stdin than there was. Counting on
// from there would wrap to 0.
func TestTakenOutOfReach(t *testing.T) {
	c, p := unread(t)
	attach := background(func() (*Cmd, error) {
		return c.Attach(testContext(t), 7, AttachOptions{Prepare: func(cmd *Cmd) { cmd.Stdin = &pattern{} }})
	})
	seq, _ := p.expect(framing.TypeAttach)
	p.send(framing.AppendStarted(nil, seq, framing.Started{PID: 5, Taken: math.MaxUint64, Credit: 1}))
	if err := (<-attach).err; !isType[*ProtocolError](err) {
		t.Errorf("got %v", err)
	}
	p.expectEnd()
}

// TestPressureLost checks that a connection lost as the watch begins is reported.
func TestPressureLost(t *testing.T) {
	for range 200 {
		p := &pressureWatch{events: make(chan *Figures, 1), begun: make(chan error, 1), over: make(chan error, 1)}
		done := framing.AppendDone(nil, 1, 0, 0, "")[framing.HeaderSize:]
		lost := background(func() (int, error) { p.lost(io.EOF); return 0, nil })
		p.receive(&frame{Header: framing.Header{Type: framing.TypeDone}, Payload: done})
		begun := <-p.begun
		<-lost
		if begun == nil && len(p.over) == 0 {
			t.Fatal("nobody was told")
		}
	}
}
