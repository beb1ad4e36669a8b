package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// TestLost loses a connection in every state that a request can be in. Nothing of it may stay.
func TestLost(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("x"), 300<<10)
	tests := []struct {
		name string
		// do brings the connection into the state, and returns what ends its consequences afterwards.
		do func(h *host) (after func())
	}{
		{"fresh", func(h *host) func() { return nil }},
		{"within a header", func(h *host) func() { h.send(make([]byte, 3)); return nil }},
		{"within a short exec", func(h *host) func() {
			f := execFrame(framing.TypeExec, 1, 0, "true")
			h.send(f[:len(f)-1])
			return nil
		}},
		{"within a long exec", func(h *host) func() {
			f := execFrame(framing.TypeExec, 1, 0, ": "+string(big[:200<<10]))
			h.send(f[:len(f)-1])
			h.until("mapped", func(a *Agent) bool { return a.conns[0].long != nil })
			return nil
		}},
		{"within a file", func(h *host) func() {
			f := fileFrame(1, filepath.Join(h.dir, "file"), big)
			h.send(f[:len(f)-1])
			h.until("staged", func(a *Agent) bool { return a.conns[0].upload != nil && a.conns[0].upload.size > 0 })
			return nil
		}},
		{"within a file that failed", func(h *host) func() {
			f := fileFrame(1, h.dir, big)
			h.send(f[:len(f)-1])
			h.until("begun", func(a *Agent) bool { return a.conns[0].upload != nil })
			return nil
		}},
		{"file on its way into a FIFO", func(h *host) func() {
			path, reader := h.fifo("fifo")
			h.send(fileFrame(1, path, big))
			h.until("copying", func(a *Agent) bool { return len(a.commits) == 1 && a.commits[0].copy.offset > 0 })
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
		{"command running", func(h *host) func() {
			path, f := h.fifo("fifo")
			h.exec(1, "read x < "+path)
			h.until("running", func(a *Agent) bool { return len(a.running) == 1 })
			return func() { f.WriteString("x\n") }
		}},
		{"result not read", func(h *host) func() {
			h.exec(1, "head -c 3000000 /dev/zero")
			h.until("sending", func(a *Agent) bool { return len(a.running) == 0 && len(a.commands) == 0 && a.conns[0].stream.Busy() })
			return nil
		}},
		{"shutdown under way", func(h *host) func() {
			path, f := h.fifo("fifo")
			h.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + path} })
			h.send(framing.AppendFrame(nil, framing.TypeShutdown, 1, nil))
			h.send(framing.AppendFrame(nil, framing.TypeShutdown, 2, nil))
			h.until("syncing", func(a *Agent) bool { return a.syncs.child.Running() && len(a.syncs.next) == 1 })
			return func() {
				h.until("forgotten", func(a *Agent) bool { return a.syncs.next[0].conn == nil && a.syncs.current[0].conn == nil })
				f.WriteString("x\nx\n")
				h.until("synced", func(a *Agent) bool { return !a.syncs.child.Running() })
			}
		}},
		{"lingering", func(h *host) func() {
			h.send(make([]byte, framing.HeaderSize))
			h.want(framing.TypeError, 0)
			return nil
		}},
		{"half closed with work due", func(h *host) func() {
			path, f := h.fifo("fifo")
			h.exec(1, "read x < "+path)
			h.Conn.(interface{ CloseWrite() error }).CloseWrite()
			h.until("ended", func(a *Agent) bool { return a.conns[0].state == connEnded })
			return func() { f.WriteString("x\n") }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startBox(t)
			h := b.dial()
			after := test.do(h)
			h.Close()
			b.until("lost", func(a *Agent) bool { return len(a.conns) == 0 })
			if after != nil {
				after()
			}
			b.quiet(0)
			b.empty(b.dir)
			if _, err := os.Lstat(filepath.Join(b.dir, "file")); err == nil {
				t.Error("a file that was not whole is there")
			}
			b.dial().ping(1)
		})
	}
}

func countChildren(a *Agent) (n int) {
	for range a.loop.Children {
		n++
	}
	return n
}

// TestStopAmidst ends an agent that is in the middle of everything. TestMain finds what it does not release.
func TestStopAmidst(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	big := bytes.Repeat([]byte("x"), 300<<10)
	block, f := b.fifo("block")
	h := b.dial()
	h.exec(1, "read x < "+block)
	h.send(execFrame(framing.TypeSpawnWatch, 2, 0, "read x < "+block))
	h.want(framing.TypeSpawnResult, 2)
	h.exec(3, "(sleep 1000 & echo $! > "+b.dir+"/left) & echo x") // holds the pipes
	h.result(3)

	sending := b.dial()
	sending.exec(1, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")

	staging := b.dial()
	file := fileFrame(1, filepath.Join(b.dir, "file"), big)
	staging.send(file[:len(file)-1])

	committing := b.dial()
	stuck, _ := b.fifo("stuck")
	committing.send(fileFrame(1, stuck, big))

	long := b.dial()
	long.send(execFrame(framing.TypeExec, 1, 0, ": "+string(big[:200<<10]))[:100<<10])

	syncing := b.dial()
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + block} })
	syncing.send(framing.AppendFrame(nil, framing.TypeShutdown, 1, nil))

	b.until("all under way", func(a *Agent) bool {
		return len(a.running) == 2 && a.conns[1].stream.Busy() && a.conns[2].upload != nil && len(a.commits) == 1 &&
			a.conns[4].long != nil && a.syncs.child.Running()
	})
	// Last, for it lingers for a second only.
	refused := b.dial()
	refused.send(make([]byte, framing.HeaderSize))
	refused.want(framing.TypeError, 0)
	b.until("one lingers", func(a *Agent) bool { return a.conns[6].state == connLingering })
	b.do(func(a *Agent) {
		r := newResult(&command{process: process{agent: a, kind: framing.KindSpawnWatch, pid: 1}, stdout: capture{spool: -1}, stderr: capture{spool: -1}})
		a.keepExit(r)
	})
	b.stop()
	b.empty(b.dir)
	if _, err := os.Lstat(filepath.Join(b.dir, "file")); err == nil {
		t.Error("a file that was not whole is there")
	}
	f.WriteString("x\nx\nx\n") // the commands and the sync run on without the agent
	left, err := os.ReadFile(filepath.Join(b.dir, "left"))
	if pid, ok := sys.ParseNumber(string(bytes.TrimSpace(left))); err == nil && ok {
		unix.Kill(int(pid), unix.SIGKILL)
	}
}
