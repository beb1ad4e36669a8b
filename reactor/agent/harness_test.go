package agent

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
)

// box is an agent at a Unix socket, and a way to look into it.
type box struct {
	*roomtest.Runner
	limits Limits
	dir    string // of the socket
	work   string // TMPDIR
	a      *Agent
	// prepare is called with the agent before it runs; nil for nothing.
	prepare func(*Agent)
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "wick") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &box{Runner: &roomtest.Runner{T: t}, dir: dir, work: filepath.Join(dir, "work")}
	if err := os.Mkdir(b.work, 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// startBox starts an agent. It is stopped at the test's end, and must leave nothing behind.
func startBox(t *testing.T) *box {
	t.Helper()
	b := newBox(t)
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *box) path() string { return filepath.Join(b.dir, "sock") }

func (b *box) start() {
	b.Helper()
	b.Runner = roomtest.Run(b.T, func() (*reactor.Loop, func() error, error) {
		a, err := New(Config{
			UnixSocket: b.path(),
			Log:        NewLog(-1, LevelError),
			Limits:     b.limits,
			Env:        []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + b.work, "BOX=" + b.dir},
		})
		if err != nil {
			return nil, nil, err
		}
		b.a = a
		if b.prepare != nil {
			b.prepare(a)
		}
		return a.loop, a.Run, nil
	})
}

// do runs f on the agent's goroutine.
func (b *box) do(f func(a *Agent)) {
	b.Helper()
	b.Do(func() { f(b.a) })
}

// until waits for the agent to be in some state.
func (b *box) until(what string, f func(a *Agent) bool) {
	b.Helper()
	b.Until(what, func() bool { return f(b.a) })
}

// untilRunning waits until n processes run.
func (b *box) untilRunning(n int) {
	b.Helper()
	b.until("as many processes run", func(a *Agent) bool { return len(a.table.Running()) == n })
}

// untilConns waits until there are n connections.
func (b *box) untilConns(n int) {
	b.Helper()
	b.until("as many connections are there", func(a *Agent) bool { return len(a.server.All()) == n })
}

// quiet waits until the agent holds nothing but n connections.
func (b *box) quiet(n int) {
	b.Helper()
	b.until("nothing is held", func(a *Agent) bool {
		commands, exits, captures := a.commands.Held()
		processes, holds := a.sessions.Held()
		syncing, waiting := a.files.Syncing()
		return len(a.server.All()) == n && commands+exits+captures+processes+holds+syncing+waiting == 0 &&
			!a.files.Busy() && len(a.table.Running()) == 0 && a.contain.Busy() == 0
	})
}

// stop ends the agent, which must leave nothing behind.
func (b *box) stop() {
	b.Helper()
	b.do(func(a *Agent) { a.Stop() })
	b.end()
	roomtest.WantClean(b.T, b.work)
	if _, err := os.Lstat(b.path()); err == nil {
		b.Error("the socket is still there")
	}
}

// end waits until the agent has ended.
func (b *box) end() {
	b.Helper()
	if err := b.WaitEnd(); err != nil {
		b.Error(err)
	}
}

// host is the host's side of a connection to a box.
type host struct {
	*roomtest.Host
	box *box
}

// dial connects, and reads the ready.
func (b *box) dial() *host {
	b.Helper()
	h := b.dialRaw()
	h.Want(framing.TypeReady, 0)
	return h
}

func (b *box) dialRaw() *host {
	b.Helper()
	for end := time.Now().Add(roomtest.Patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", b.path())
		if err == nil {
			b.Cleanup(func() { c.Close() })
			return &host{&roomtest.Host{T: b.T, Conn: c}, b}
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

// dialHello connects, and says hello.
func (b *box) dialHello() *host {
	b.Helper()
	h := b.dial()
	h.Hello()
	return h
}

// job has a shell do the agent's jobs.
func (b *box) job(script string) {
	b.do(func(a *Agent) { a.jobs.Command = []string{"/bin/sh", "-c", script, "job"} })
}
