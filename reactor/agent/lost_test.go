package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// big is more content than buffers hold.
var big = bytes.Repeat([]byte("x"), 300<<10)

// children returns the processes of the agent's jobs.
func children(a *Agent) (pids []int) {
next:
	for c := range a.loop.Children {
		for _, p := range a.table.Running() {
			if p.PID() == c.PID() {
				continue next
			}
		}
		pids = append(pids, c.PID())
	}
	return pids
}

// staged waits until content has come into a temporary file in dir.
func (b *box) staged(dir string) {
	b.Helper()
	roomtest.WaitFor(b.T, "content has come", func() bool {
		temp, _ := filepath.Glob(dir + "/.wick*")
		for _, name := range temp {
			if i, err := os.Stat(name); err == nil && i.Size() > 0 {
				return true
			}
		}
		return false
	})
}

// A lostState is a state in which a connection is lost. do brings the connection into it.
// after, if not nil, ends what goes on without the connection.
type lostState struct {
	name string
	do   func(h *host, path string) (after func())
}

var lostStates = []lostState{
	{"fresh", func(h *host, path string) func() { return nil }},
	{"within a header", func(h *host, path string) func() { h.Send(make([]byte, 3)); return nil }},
	{"within a long exec", func(h *host, path string) func() {
		f := roomtest.Exec(framing.TypeExec, 1, 0, ": "+string(big[:200<<10]))
		h.Send(f[:len(f)-1])
		return nil
	}},
	{"within a write_file", func(h *host, path string) func() {
		f := roomtest.File(1, path, big)
		h.Send(f[:len(f)-1])
		h.box.staged(filepath.Dir(path))
		return nil
	}},
	{"within a write_file that failed", func(h *host, path string) func() {
		f := roomtest.File(1, filepath.Dir(path), big)
		h.Send(f[:len(f)-1])
		return nil
	}},
	{"write_file on its way into a FIFO", func(h *host, path string) func() {
		fifo, reader := h.box.Fifo()
		h.Send(roomtest.File(1, fifo, big))
		h.box.until("it is being copied", func(a *Agent) bool { return a.files.Busy() })
		return func() {
			for n := 0; n < len(big); {
				m, err := reader.Read(make([]byte, 64<<10))
				if err != nil {
					h.Fatal(err)
				}
				n += m
			}
		}
	}},
	{"command running", func(h *host, path string) func() {
		fifo, f := h.box.Fifo()
		h.Exec(1, "read x < "+fifo)
		h.box.untilRunning(1)
		return func() { f.WriteString("x\n") }
	}},
	{"result not read", func(h *host, path string) func() {
		h.Exec(1, "head -c 3000000 /dev/zero")
		h.box.until("it is being sent", func(a *Agent) bool { return !a.commands.Busy() && a.server.All()[0].Busy() })
		return nil
	}},
	{"shutdown under way", func(h *host, path string) func() {
		fifo, f := h.box.Fifo()
		h.box.job("read x < " + fifo)
		h.Send(append(roomtest.Frame(framing.TypeShutdown, 1), roomtest.Frame(framing.TypeShutdown, 2)...))
		h.Ping(3)
		return func() { f.WriteString("x\nx\n") }
	}},
	{"lingering", func(h *host, path string) func() {
		h.Send(make([]byte, framing.HeaderSize))
		h.Want(framing.TypeError, 0)
		return nil
	}},
	{"write with content", func(h *host, path string) func() {
		h.Hello()
		h.WriteTo(1, 0, path, "content")
		h.Ping(2)
		return nil
	}},
	{"within an input", func(h *host, path string) func() {
		h.Hello()
		h.WriteTo(1, 0, path, "content")
		h.Send(roomtest.Input(1, make([]byte, 60<<10))[:30<<10])
		return nil
	}},
	{"write that is synced, and others that wait for it", func(h *host, path string) func() {
		const atOnce, wait = 4, 3
		h.Hello()
		fifo, f := h.box.Fifo()
		h.box.job("read x < " + fifo)
		for seq := range uint32(atOnce + wait) {
			h.WriteTo(seq, framing.WriteSync, path, "content")
			h.Send(roomtest.Close(seq, framing.StreamInput))
		}
		h.Ping(99)
		h.box.do(func(a *Agent) {
			if running, waiting := a.files.Syncing(); running != atOnce || waiting != wait {
				h.Errorf("%d files are synced, %d wait, want %d and %d", running, waiting, atOnce, wait)
			}
		})
		return func() { f.WriteString(strings.Repeat("x\n", atOnce)) }
	}},
	{"reads and lists without credit", func(h *host, path string) func() {
		h.Hello()
		for seq := range uint32(10) {
			h.Send(roomtest.Read(2*seq, 1, "/proc/version"))
			h.Want(framing.TypeOutput, 2*seq)
			h.Send(roomtest.List(2*seq+1, 1, h.box.dir))
		}
		h.Ping(99)
		return nil
	}},
	{"read that is not taken", func(h *host, path string) func() {
		h.Hello()
		h.Send(roomtest.Read(1, 1<<30, "/proc/self/exe"))
		h.box.until("it is stuck", func(a *Agent) bool { return a.server.All()[0].Busy() })
		return nil
	}},
}

// unread are the states in which the agent reads nothing from the connection, and cannot see a
// half-close.
var unread = map[string]bool{
	"write_file on its way into a FIFO": true, "result not read": true, "read that is not taken": true,
}

// TestLost loses a connection in every state that a request can be in, or has its host shut
// down its side before. Nothing of the request is left, and the next connection is served.
func TestLost(t *testing.T) {
	t.Parallel()
	for _, state := range lostStates {
		for _, half := range []bool{false, true} {
			name := state.name
			if half && unread[name] {
				continue
			} else if half {
				name += ", half closed"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := startBox(t)
				dir := t.TempDir()
				path := filepath.Join(dir, "file")
				roomtest.WriteFile(t, path, "old")
				h := b.dial()
				after := state.do(h, path)
				if half {
					h.HalfClose()
					b.until("the half-close is seen", func(a *Agent) bool {
						return len(a.server.All()) == 0 || !a.server.All()[0].Open()
					})
					roomtest.WantClean(t, dir)
				}
				h.Close()
				b.untilConns(0)
				roomtest.WantClean(t, dir)
				if after != nil {
					after()
				}
				b.quiet(0)
				b.until("no job runs", func(a *Agent) bool { return len(children(a)) == 0 })
				roomtest.WantContent(t, path, "old")
				roomtest.WantClosed(t, dir)
				b.dial().Ping(1)
			})
		}
	}
}

// openFiles has a host read, list, and write in every way. path is in a directory of its own.
func (h *host) openFiles(path string) {
	h.Helper()
	h.WriteTo(10, 0, path, "new")
	h.WriteTo(11, framing.WriteInPlace, path+".place", "new")
	h.Send(roomtest.Read(12, 1, path))
	h.Want(framing.TypeOutput, 12)
	h.Send(roomtest.List(13, 0, filepath.Dir(path)))
	h.Ping(14)
}

// TestDropClosesFiles has files open when the disks come to their end. They are closed before,
// and nothing is left of those that were not whole.
func TestDropClosesFiles(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	roomtest.WriteFile(t, path, "old")
	h := b.dialHello()
	h.openFiles(path)
	b.do(func(a *Agent) {
		a.drop()
		roomtest.WantClosed(t, dir)
		roomtest.WantClean(t, dir)
	})
	roomtest.WantContent(t, path, "old")
	h.Ping(6)
}

// TestStopAmidst stops an agent in the middle of everything. TestMain finds what it does not
// release.
func TestStopAmidst(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	roomtest.WriteFile(t, path, "old")
	block, f := b.Fifo()
	h := b.dialHello()
	h.Send(roomtest.Exec(framing.TypeSpawnWatch, 2, 0, "read x < "+block))
	h.Want(framing.TypeSpawnResult, 2)
	h.Exec(3, "(sleep 1000 & echo $! > "+dir+"/pid) & echo x") // holds the pipes
	h.Result(3)
	h.openFiles(path)
	b.job("read x < " + block)
	for seq := range uint32(5) { // one more than at once
		h.WriteTo(20+seq, framing.WriteSync, path, "new")
		h.Send(roomtest.Close(20+seq, framing.StreamInput))
	}
	h.Send(roomtest.Frame(framing.TypeShutdown, 1))
	h.Ping(30)

	sending := b.dial()
	sending.Exec(1, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
	staging := b.dial()
	file := roomtest.File(1, path, big)
	staging.Send(file[:len(file)-1])
	committing := b.dial()
	stuck, _ := b.Fifo()
	committing.Send(roomtest.File(1, stuck, big))
	long := b.dial()
	long.Send(roomtest.Exec(framing.TypeExec, 1, 0, ": "+string(big[:200<<10]))[:100<<10])
	b.staged(dir)
	b.until("all are under way", func(a *Agent) bool {
		return len(a.table.Running()) == 1 && a.server.All()[1].Busy() && a.files.Busy() && len(children(a)) == 5
	})
	// Last, because it lingers for a second only.
	refused := b.dial()
	refused.Send(make([]byte, framing.HeaderSize))
	refused.Want(framing.TypeError, 0)
	b.do(func(a *Agent) {
		if !a.server.Lingering() {
			t.Error("no connection lingers")
		}
	})
	b.stop()
	roomtest.WantContent(t, path, "old")
	roomtest.WantClean(t, dir)
	roomtest.WantClosed(t, dir)
	f.WriteString(strings.Repeat("x\n", 6)) // the command and the jobs run on without the agent
	left, err := os.ReadFile(filepath.Join(dir, "pid"))
	if pid, ok := sys.ParseNumber(string(bytes.TrimSpace(left))); err == nil && ok {
		unix.Kill(int(pid), unix.SIGKILL)
	}
}
