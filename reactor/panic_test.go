package reactor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests hold that a panic costs only what it happened in. The handler is told once, with the
// stack. The loop, other descriptors and the buffers are as before.

func TestPanicInAStream(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"input", "kept input", "end", "error", "drained", "fill", "sent", "lost"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			l := newLoop(t, 4)
			bystander := echo(t, l)
			ours, far := pair(t)
			h := &hand{}
			h.s.Open(l, ours, "far end", h)
			waits := &text{body: []byte("x"), step: 1}
			boom := func() { panic("boom") }
			src := &text{body: []byte("xy"), step: 1}
			closed := false
			switch where {
			case "input":
				h.input = func([]byte) int { panic("boom") }
				write(t, far, "x")
			case "kept input":
				h.input = func(b []byte) int {
					if len(b) == 2 {
						panic("boom")
					}
					return 0
				}
				write(t, far, "x")
				until(t, l, "the first byte", func() bool { return h.s.kept == 1 })
				write(t, far, "y")
			case "end":
				h.end = func(error) { panic("boom") }
				if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
					t.Fatal(err)
				}
			case "error":
				h.end = func(error) { panic("boom") }
				h.say("unread")
				closeFD(t, far)
				closed = true
			case "drained":
				h.drained = boom
				fill(t, ours)
				h.say("x")
				drain(t, far)
			case "fill":
				src.fill = boom
				fill(t, ours)
				h.s.Send(src)
				h.s.Send(waits)
				drain(t, far)
			case "sent":
				src.done = func() { src.done = nil; boom() }
				fill(t, ours)
				h.s.Send(src)
				h.s.Send(waits)
				drain(t, far)
			case "lost":
				src.done = func() { src.done = nil; boom() }
				fill(t, ours)
				h.s.Send(src)
				h.s.Send(waits)
				h.s.Close()
			}
			until(t, l, "the panic", func() bool { return len(h.values) > 0 })
			h.once(t, "boom", "reactor.")
			if h.s.Descriptor.Open() {
				t.Error("the stream is open after the panic")
			}
			poll(t, l)
			if isOpen(ours) && !closed && string(drain(t, far)) == "" {
				// The number may belong to another test by now, but then it was closed here.
				if _, err := unix.Write(far, []byte("x")); err == nil {
					t.Error("the descriptor is open after the panic")
				}
			}
			if waits.sent != 0 || src.sent+src.lost > 1 || (where == "fill" || where == "sent" || where == "lost") && waits.lost != 1 {
				t.Errorf("source: sent %d, lost %d; next source: sent %d, lost %d",
					src.sent, src.lost, waits.sent, waits.lost)
			}
			write(t, bystander, "alive")
			until(t, l, "the echo", func() bool { return string(drain(t, bystander)) == "alive" })
			allFree(t, l)
			quiet(t, l)
			if !closed {
				closeFD(t, far)
			}
		})
	}
}

type failingReady struct {
	failer
	d Descriptor
}

func (f *failingReady) Ready(Events) { panic("boom") }

func (f *failingReady) Failed(value any, stack []byte) {
	f.failer.Failed(value, stack)
	f.d.Close()
	panic("in Failed, which nobody is left to tell of")
}

func TestPanicInReady(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var f failingReady
	l.Attach(&f.d, eventfd(t, 1), &f)
	f.d.Want(Read)
	var d Descriptor
	l.Attach(&d, eventfd(t, 1), readyFunc(func(Events) { panic("not told") }))
	d.Want(Read)
	until(t, l, "the panics", func() bool { return !d.Open() && !f.d.Open() })
	f.once(t, "boom", "Ready")
}

type failingTimer struct{ failer }

func (f *failingTimer) Expired(*Timer) { panic("boom") }

func TestPanicInExpired(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var f failingTimer
	var a, b, c Timer
	l.Start(&a, 0, &f)
	l.Start(&b, 0, expiredFunc(func(*Timer) { panic("not told") }))
	done := false
	l.Start(&c, time.Millisecond, expiredFunc(func(*Timer) { done = true }))
	until(t, l, "the third timer", func() bool { return done })
	f.once(t, "boom", "Expired")
}

type failingListener struct {
	failer
	l             *Loop
	s             Stream
	attach, close bool
	fd            int
	early         bool // the handler closed it before the end of the turn
}

func (f *failingListener) Accepted(fd int, _ Peer) {
	if f.attach {
		f.s.Open(f.l, fd, "accepted", &hand{})
	}
	if f.close {
		f.s.Close()
	}
	f.fd = fd
	panic("boom")
}

func (f *failingListener) Failed(value any, stack []byte) {
	f.early = f.early || f.close && !isOpen(f.fd)
	f.failer.Failed(value, stack)
}

func (f *failingListener) AcceptFailed(error) {}

// TestPanicInAccepted panics in a handler of a connection. The connection is closed, whether or not
// it was attached, and the next one is accepted. A connection that the handler closed is not closed
// twice, because its number may be in use again.
func TestPanicInAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ attach, close bool }{{}, {true, false}, {true, true}} {
		l := newLoop(t, 2)
		path := t.TempDir() + "/s"
		fd, err := ListenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		f := &failingListener{l: l, attach: test.attach, close: test.close}
		var ln Listener
		l.Listen(&ln, fd, path, f)
		for range 2 {
			f.failer = failer{}
			client := connect(t, path)
			until(t, l, "the panic", func() bool { return len(f.values) > 0 })
			f.once(t, "boom", "Accepted")
			poll(t, l)
			if n, err := recv(client, make([]byte, 1)); n != 0 || err != nil {
				t.Errorf("attached %v: read %d, %v, want the end of a closed connection",
					test.attach, n, err)
			}
			closeFD(t, client)
		}
		if !ln.Open() || f.s.Descriptor.Open() || f.early {
			t.Errorf("listener open %v, stream open %v, closed within the turn %v; want true, false, false",
				ln.Open(), f.s.Descriptor.Open(), f.early)
		}
	}
}

type failingDial struct{ failer }

func (f *failingDial) Connected(int)    { panic("boom") }
func (f *failingDial) DialFailed(error) { panic("failed") }

func TestPanicInConnected(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	path := t.TempDir() + "/s"
	fd, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var f failingDial
	var d Dial
	l.DialUnix(&d, path, &f)
	until(t, l, "the panic", func() bool { return len(f.values) > 0 })
	f.once(t, "boom", "Connected")
	poll(t, l)
	served, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(served)
	if n, err := recv(served, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d, %v, want the end of a closed connection", n, err)
	}
}

type failingChild struct{ failer }

func (f *failingChild) Exited(unix.WaitStatus) { panic("boom") }

func TestPanicInExited(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var f failingChild
	var c Child
	if err := l.Spawn(&c, shell(t, "exit 3"), &f); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the panic", func() bool { return len(f.values) > 0 })
	f.once(t, "boom", "Exited")
	if c.Running() || c.pidfd.Open() || len(l.children) != 0 {
		t.Error("the child still counts as running")
	}
	quiet(t, l)
}
