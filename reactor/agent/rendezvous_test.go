package agent

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestTwoAgents meet at one path: the second takes the first for its host, and the path when that is gone.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	first := newBox(t)
	first.start()
	second := &box{T: t, dir: first.dir, work: first.work, log: NewLog(-1, LevelError)}
	second.start()
	second.until("connected", func(a *Agent) bool { return len(a.conns) == 1 })
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
			h.Close()
			b.quiet(0)
		})
	}
}
