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
	"wick/reactor/agent/internal/link"
)

// TestTwoAgents meet at one path: the second waits for the first to end, and then takes the path. It is no host to the first.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	first := newBox(t)
	first.start()
	second := &box{T: t, dir: first.dir, work: first.work, log: NewLog(-1, LevelError)}
	second.start()
	second.until("waiting", func(a *Agent) bool {
		wait, reason := a.links[0].(*link.Path).Waits()
		return strings.Contains(reason, "another agent listens there") && wait == link.MaxBackoff
	})
	first.dial().ping(1)
	first.do(func(a *Agent) { a.Stop() })
	<-first.done
	unix.Close(first.pipe[1])
	second.until("listening", func(a *Agent) bool { return a.links[0].(*link.Path).Listening() })
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
	b.until("listening", func(a *Agent) bool { return a.links[0].(*link.Path).Listening() })
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
