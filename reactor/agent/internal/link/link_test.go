package link

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long a test waits for an event that must come. A success does not depend on it.
const patience = 30 * time.Second

// fakeHost holds every connection that it gets. Its loop runs in until.
type fakeHost struct {
	*testing.T
	loop  *reactor.Loop
	path  string
	conns []int
	timer reactor.Timer
	done  func() bool
	end   time.Duration
}

func newHost(t *testing.T) *fakeHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "wick") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	loop, err := reactor.New(1)
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{T: t, loop: loop, path: filepath.Join(dir, "sock")}
	t.Cleanup(func() {
		for _, fd := range h.conns {
			unix.Close(fd)
		}
		h.timer.Stop()
		loop.Close()
		os.RemoveAll(dir)
	})
	return h
}

// link opens a link at the host's path, which is closed at the end of the test.
func (h *fakeHost) link() *Path {
	h.Helper()
	r := NewPath(h, h.loop, log.New(-1, log.LevelError), h.path)
	if err := r.Open(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(r.Close)
	return r
}

// Accept implements Host.
func (h *fakeHost) Accept(fd int, _ string, _ Link) (id uint32, open bool) {
	h.conns = append(h.conns, fd)
	return uint32(len(h.conns)), true
}

// until runs the loop until done reports true.
func (h *fakeHost) until(what string, done func() bool) {
	h.Helper()
	h.done, h.end = done, reactor.Now()+patience
	h.loop.Start(&h.timer, 0, h)
	if err := h.loop.Run(); err != nil {
		h.Fatal(err)
	}
	if !done() {
		h.Fatal("not so in time: " + what)
	}
}

// Expired implements [reactor.TimerHandler].
func (h *fakeHost) Expired(*reactor.Timer) {
	if h.done() || reactor.Now() > h.end {
		h.loop.Stop()
		return
	}
	h.loop.Start(&h.timer, time.Millisecond, h)
}

// Failed implements [reactor.Failer].
func (h *fakeHost) Failed(value any, stack []byte) { h.Errorf("%v\n%s", value, stack) }

// TestUselessConnections holds the waits: up to 100 ms after useless connections, up to a second
// after failures, and the shortest after a useful connection.
func TestUselessConnections(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var w backoff
	want := func(waits ...time.Duration) {
		for _, ms := range waits {
			w.lost(false, h.loop, h)
			if w.last != ms*time.Millisecond {
				t.Errorf("after a useless connection the wait is %v, want %v", w.last, ms*time.Millisecond)
			}
		}
	}
	want(10, 20, 40, 80, 100, 100)
	for range 10 {
		w.start(h.loop, h)
	}
	if w.last != MaxBackoff {
		t.Errorf("after ten failures the wait is %v", w.last)
	}
	want(100)
	if w.lost(true, h.loop, h); w.last != minBackoff {
		t.Errorf("after a useful connection the wait is %v", w.last)
	}
	w.stop()
}

// TestDirectoryMadeAnew removes the directory of a path and makes it again. The link leaves the
// path to the host meanwhile, and for the grace period afterwards.
func TestDirectoryMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := filepath.Dir(h.path) + "/d"
	h.path = dir + "/sock"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := h.link()
	look := func(what string, seen, listening bool) {
		t.Helper()
		if !r.Listening() {
			r.wait.stop()
			r.look()
		}
		if r.seen != seen || r.Listening() != listening {
			t.Errorf("%s: seen %v, listening %v", what, r.seen, r.Listening())
		}
	}
	look("at first", false, true)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	h.until("not listening", func() bool { return !r.Listening() })
	look("without a directory", true, false)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	look("in a new directory", false, false)
	h.until("listening", r.Listening)
}

// TestHostBetween has a host put its socket at the path after the link has looked there and before
// it acts. The link leaves the socket alone and connects to it.
func TestHostBetween(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(r *Path){
		"nothing was there":  func(r *Path) { r.listen() },
		"a stale socket was": func(r *Path) { r.removeStale(); r.look() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			r := h.link()
			r.removeOwn()
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.path})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			its, _, _ := inodeOf(h.path)
			act(r)
			h.until("connected", func() bool { return len(h.conns) == 1 })
			if !r.Dialed(1) {
				t.Error("the connection is not the link's own")
			}
			if now, _, err := inodeOf(h.path); err != nil || now != its {
				t.Errorf("%v, %v, want %v", now, err, its)
			}
		})
	}
}

// TestStaleSocketMadeAnew replaces a socket that is about to count as stale by one with the same
// inode number. The new socket differs in its change time, and its host has the full time to
// listen.
func TestStaleSocketMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	refusal := sys.NewError("connect", h.path, unix.ECONNREFUSED)
	r := h.link()
	r.removeOwn()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	r.DialFailed(refusal)
	r.since -= staleAfter
	_, before, _ := inodeOf(h.path)
	for end := time.Now().Add(patience); ; { // the kernel's clock for files is coarse
		if err := os.Chmod(h.path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, after, _ := inodeOf(h.path); after != before {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the time of change does not change")
		}
	}
	r.DialFailed(refusal)
	if _, err := os.Lstat(h.path); err != nil {
		t.Errorf("a new socket's first refusal: %v, want it left alone", err)
	}
	r.since -= staleAfter
	r.DialFailed(refusal)
	if _, err := os.Lstat(h.path); err == nil {
		t.Error("a socket that has refused for 300 ms is still there")
	}
	h.until("listening again", r.Listening)
}
