package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/framing/wiretest"
	"wick/reactor"
)

// patience is how long a test waits for what must come. None depends on its being short.
const patience = 30 * time.Second

// box is an agent at a Unix socket, on a goroutine of its own, and a way to look into it.
type box struct {
	limits Limits
	log    *Log
	*testing.T
	dir  string // of the socket
	work string // TMPDIR
	a    *Agent
	pipe [2]int
	jobs chan func()
	wake reactor.Descriptor
	done chan error
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "wick") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &box{T: t, dir: dir, work: filepath.Join(dir, "work"), log: NewLog(-1, LevelError)}
	if err := os.Mkdir(b.work, 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// startBox starts an agent that is stopped, and looked at for what it left, at the test's end.
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
	b.jobs, b.done = make(chan func(), 1), make(chan error, 1)
	if err := unix.Pipe2(b.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		b.Fatal(err)
	}
	started := make(chan error)
	go func() {
		a, err := New(Config{
			UnixSocket: b.path(),
			Log:        b.log,
			Limits:     b.limits,
			Env:        []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + b.work, "BOX=" + b.dir},
		})
		if err == nil {
			b.a = a
			a.loop.Attach(&b.wake, b.pipe[0], b)
			b.wake.Want(reactor.Read)
		}
		started <- err
		if err == nil {
			b.done <- a.Run()
		}
	}()
	if err := <-started; err != nil {
		b.Fatal(err)
	}
}

// Ready runs a job on the agent's goroutine.
func (b *box) Ready(reactor.Events) {
	var buf [1]byte
	unix.Read(b.wake.FD(), buf[:])
	(<-b.jobs)()
}

// do runs f on the agent's goroutine.
func (b *box) do(f func(a *Agent)) {
	b.Helper()
	finished := make(chan struct{})
	b.jobs <- func() { defer close(finished); f(b.a) }
	unix.Write(b.pipe[1], []byte{0})
	select {
	case <-finished:
	case <-time.After(patience):
		b.Fatal("the agent does not turn")
	}
}

// until waits for the agent to be in some state.
func (b *box) until(what string, f func(a *Agent) bool) {
	b.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		ok := false
		b.do(func(a *Agent) { ok = f(a) })
		if ok {
			return
		}
		if time.Now().After(end) {
			b.Fatal("not so in time: " + what)
		}
	}
}

// quiet waits for the agent to hold nothing, but for the given number of connections.
func (b *box) quiet(conns int) {
	b.Helper()
	b.until("nothing held", func(a *Agent) bool {
		return len(a.conns) == conns && len(a.commands) == 0 && len(a.commits) == 0 && len(a.exits) == 0 &&
			len(a.running) == 0 && a.captures.Free() == captureBuffers &&
			len(a.sessions) == 0 && heldBuffers(a) == 0 && a.contain.Busy() == 0
	})
}

// heldBuffers is how many buffers processes hold.
func heldBuffers(a *Agent) int {
	return holdBuffers*int(a.cfg.Limits.Kept) + int(a.cfg.Limits.Commands) - a.holds.Free()
}

// stop ends the agent, which must leave nothing behind.
func (b *box) stop() {
	b.Helper()
	b.do(func(a *Agent) { a.Stop() })
	select {
	case err := <-b.done:
		if err != nil {
			b.Error(err)
		}
	case <-time.After(patience):
		b.Fatal("the agent does not end")
	}
	unix.Close(b.pipe[1])
	b.empty(b.work)
	if _, err := os.Lstat(b.path()); err == nil {
		b.Error("the socket is still there")
	}
}

// empty checks that nothing temporary is in a directory.
func (b *box) empty(dir string) {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Error(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".wick") {
			b.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
}

// host is the other side of a connection.
type host struct {
	*box
	net.Conn
}

// dial connects, and reads the ready.
func (b *box) dial() *host {
	b.Helper()
	h := b.dialRaw()
	h.want(framing.TypeReady, 0)
	return h
}

func (b *box) dialRaw() *host {
	b.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", b.path())
		if err == nil {
			c.SetDeadline(time.Now().Add(patience))
			b.Cleanup(func() { c.Close() })
			return &host{b, c}
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

func (h *host) send(frame []byte) {
	h.Helper()
	h.SetDeadline(time.Now().Add(patience)) // of each frame: a slow machine may take longer for all that a test does
	if _, err := h.Write(frame); err != nil {
		h.Fatal(err)
	}
}

func (h *host) read() (t framing.Type, seq uint32, payload []byte) {
	h.Helper()
	t, seq, payload, err := h.tryRead()
	if err != nil {
		h.Fatal(err)
	}
	return t, seq, payload
}

func (h *host) tryRead() (t framing.Type, seq uint32, payload []byte, err error) {
	h.SetDeadline(time.Now().Add(patience))
	f, err := wiretest.ReadFrame(h)
	return framing.Type(f.Type), f.Seq, f.Payload, err
}

// want reads a frame of that type and seq and returns its payload.
func (h *host) want(t framing.Type, seq uint32) []byte {
	h.Helper()
	gotType, gotSeq, payload := h.read()
	if gotType != t || gotSeq != seq {
		h.Fatalf("got %v seq %d %.200q, want %v seq %d", gotType, gotSeq, payload, t, seq)
	}
	return payload
}

// wantEnd reads the end of the connection.
func (h *host) wantEnd() {
	h.Helper()
	if t, _, _, err := h.tryRead(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		h.Fatalf("got %v, %v, want the end", t, err)
	}
}

func (h *host) ping(seq uint32) {
	h.Helper()
	h.send(framing.AppendFrame(nil, framing.TypePing, seq, nil))
	h.want(framing.TypePong, seq)
}

func execFrame(t framing.Type, seq uint32, ms uint32, command string) []byte {
	return framing.AppendExec(nil, t, seq, &framing.Exec{TimeoutMS: ms, Command: []byte(command)})
}

func (h *host) exec(seq uint32, command string) {
	h.Helper()
	h.send(execFrame(framing.TypeExec, seq, 0, command))
}

func (h *host) result(seq uint32) framing.ExecResult {
	h.Helper()
	var r framing.ExecResult
	if err := framing.ParseExecResult(h.want(framing.TypeExecResult, seq), &r); err != nil {
		h.Fatal(err)
	}
	return r
}

func fileFrame(seq uint32, path string, content []byte) []byte {
	w := framing.WriteFile{Path: []byte(path), Size: len(content)}
	return append(framing.AppendWriteFileHead(nil, seq, &w), content...)
}

// wrote reads a write_file_result and returns the reason of its failure, or nothing.
func (h *host) wrote(seq uint32) string {
	h.Helper()
	reason, ok, err := framing.ParseWriteFileResult(h.want(framing.TypeWriteFileResult, seq))
	if err != nil || ok != (len(reason) == 0) {
		h.Fatal(ok, string(reason), err)
	}
	return string(reason)
}

// fifo makes one, opened so that neither side waits for the other.
func (b *box) fifo(name string) (path string, f *os.File) {
	b.Helper()
	path = filepath.Join(b.dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return path, f
}
