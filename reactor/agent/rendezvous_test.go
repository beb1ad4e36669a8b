package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestTwoAgents meet at one path: the second waits for the first to end, and then takes the path. It is no host to the first.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	first := newBox(t)
	first.start()
	second := &box{T: t, dir: first.dir, work: first.work, log: NewLog(-1, LevelError)}
	second.start()
	second.until("waiting", func(a *Agent) bool {
		r := a.links[0].(*rendezvous)
		return strings.Contains(r.said, "another agent listens there") && r.wait.last == maxBackoff
	})
	first.dial().ping(1)
	first.do(func(a *Agent) { a.Stop() })
	<-first.done
	unix.Close(first.pipe[1])
	second.until("listening", func(a *Agent) bool { return a.links[0].(*rendezvous).listener.Open() })
	second.dial().ping(2)
	second.stop()
}

// TestHostComesAndGoes has a host's listener appear and disappear a hundred times, now by a rename over the agent's socket and now
// where nothing is. Each is connected to.
func TestHostComesAndGoes(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	aside := filepath.Join(b.dir, "aside")
	for i := range 100 {
		if i%3 == 0 {
			os.Remove(b.path()) // the agent's
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: aside})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := os.Rename(aside, b.path()); err != nil {
			t.Fatal(err)
		}
		l.SetDeadline(time.Now().Add(patience))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(i, err)
		}
		c.SetDeadline(time.Now().Add(patience))
		h := &host{b, c}
		h.want(framing.TypeReady, 0)
		h.ping(uint32(i))
		if i%2 == 0 {
			os.Remove(b.path()) // else it is stale
		}
		l.Close()
		c.Close()
	}
	b.until("listening", func(a *Agent) bool { return a.links[0].(*rendezvous).listener.Open() })
	b.dial().ping(1)
	b.quiet(0 + 1)
}

// TestPathErrors are what is no place for a socket.
func TestPathErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir, link, file + "/sock", dir + "/none/sock", "/" + string(make([]byte, 200))} {
		_, err := New(Config{UnixSocket: path, Log: NewLog(-1, LevelError)})
		if _, ok := err.(*PathError); !ok {
			t.Errorf("%q: %v", path, err)
		}
	}
	if to, err := os.Readlink(link); err != nil || to != "nowhere" {
		t.Error(to, err)
	}
}

// TestHostGoneAtOnce has a host that closes every connection before the agent can say ready on it: the agent tries on.
func TestHostGoneAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	l, err := net.Listen("unix", b.path())
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetDeadline(time.Now().Add(30 * time.Second))
	b.start()
	defer b.stop()
	defer l.Close() // and with it the socket
	for range 8 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// TestUselessConnections doubles the wait after connections that were of no use, to 100 ms. A host that cannot be reached at all is waited
// for up to 1 s.
func TestUselessConnections(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	defer b.stop()
	b.do(func(a *Agent) {
		var w backoff
		none := a.links[0].(*rendezvous)
		want := func(waits ...time.Duration) {
			for _, ms := range waits {
				w.lost(false, a.loop, none)
				if w.last != ms*time.Millisecond {
					t.Errorf("after a useless connection the wait is %v, want %v", w.last, ms*time.Millisecond)
				}
			}
		}
		want(10, 20, 40, 80, 100, 100)
		for range 10 {
			w.start(a.loop, none)
		}
		if w.last != maxBackoff {
			t.Errorf("after ten failures the wait is %v", w.last)
		}
		want(100)
		if w.lost(true, a.loop, none); w.last != minBackoff {
			t.Errorf("after a useful connection the wait is %v", w.last)
		}
		w.stop()
	})
}

// TestDirectoryMadeAnew leaves a path to the host while the directory is missing, and for a while after it was made again.
func TestDirectoryMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	dir := filepath.Join(b.dir, "d")
	b.dir = dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.start()
	defer b.stop()
	look := func(what string, seen, listening bool) {
		t.Helper()
		b.do(func(a *Agent) {
			r := a.links[0].(*rendezvous)
			if !r.listener.Open() {
				r.wait.stop()
				r.look()
			}
			if r.seen != seen || r.listener.Open() != listening {
				t.Errorf("%s: seen %v, listening %v", what, r.seen, r.listener.Open())
			}
		})
	}
	look("at first", false, true)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.until("not listening", func(a *Agent) bool { return !a.links[0].(*rendezvous).listener.Open() })
	look("without a directory", true, false)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	look("in a new directory", false, false)
	b.until("listening", func(a *Agent) bool { return a.links[0].(*rendezvous).listener.Open() })
}

// TestHostBetween has a host put its socket at the path between a look of the agent's and what it does about what it saw. It stays there, and is
// connected to.
func TestHostBetween(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(r *rendezvous){
		"nothing was there":  func(r *rendezvous) { r.listen() },
		"a stale socket was": func(r *rendezvous) { r.removeStale(); r.look() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBox(t)
			var l *net.UnixListener
			var its inode
			b.do(func(a *Agent) {
				r := a.links[0].(*rendezvous)
				r.removeOwn()
				var err error
				if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: b.path()}); err != nil {
					t.Error(err)
					return
				}
				its, _, _ = inodeOf(b.path())
				act(r)
			})
			if t.Failed() {
				return
			}
			defer l.Close()
			l.SetDeadline(time.Now().Add(patience))
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			h := &host{b, c}
			h.want(framing.TypeReady, 0)
			h.ping(1)
			if now, _, err := inodeOf(b.path()); err != nil || now != its {
				t.Errorf("%v, %v, want %v", now, err, its)
			}
			l.Close() // or the agent connects again before quiet looks
			h.Close()
			b.quiet(0)
		})
	}
}
