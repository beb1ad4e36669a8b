package agent

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// TestPingAllocs is not parallel, for what others allocate would be counted.
func TestPingAllocs(t *testing.T) {
	b := startBox(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	unix.SetNonblock(fds[1], true)
	b.do(func(a *Agent) { a.accept(fds[1], a.links[0], "test") })
	ping := framing.AppendFrame(nil, framing.TypePing, 7, nil)
	pong := make([]byte, framing.HeaderSize)
	unix.Read(fds[0], pong) // ready
	allocs := testing.AllocsPerRun(1000, func() {
		unix.Write(fds[0], ping)
		if n, err := unix.Read(fds[0], pong); n != len(pong) || err != nil {
			t.Fatal(n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("a ping costs %v allocations", allocs)
	}
}

// The limits that an agent has if it is not told otherwise.
const (
	maxConns     = 64
	maxCommands  = 256
	maxKeptExits = 256
)

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	var hosts []*host
	for range maxConns {
		hosts = append(hosts, b.dial())
	}
	h := b.dialRaw()
	h.want(framing.TypeReady, 0)
	if text := h.want(framing.TypeError, 0); !bytes.Contains(text, []byte("too many connections (limit 64)")) {
		t.Errorf("%q", text)
	}
	h.wantEnd()
	// Every one of them may hold its buffers at once.
	frame := fileFrame(1, filepath.Join(b.dir, "file"), make([]byte, 100<<10))
	for _, h := range hosts {
		h.send(frame[:10])
	}
	for _, h := range hosts {
		h.send(frame[10:])
		if reason := h.wrote(1); reason != "" {
			t.Fatal(reason)
		}
	}
	hosts[0].Close()
	b.quiet(maxConns - 1)
	b.dial().ping(1)
}

// TestSilentConnections has connections that never say anything hold all places. The oldest of them
// makes room for a host that comes later, and only once it has had time to speak.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	var hosts []*host
	for range maxConns {
		hosts = append(hosts, b.dial())
	}
	hosts[0].ping(1)
	b.do(func(a *Agent) {
		for _, c := range a.conns[:2] {
			c.opened -= silentGrace
		}
	})
	b.dial().ping(1)
	hosts[1].wantEnd()
	late := b.dialRaw()
	late.want(framing.TypeReady, 0)
	late.want(framing.TypeError, 0)
	late.wantEnd()
	hosts[0].ping(2)
	hosts[2].ping(1)
}

// TestTooManyExits keeps the newest of the process_exits that nobody was there for, in their order.
func TestTooManyExits(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	const more = 10
	b.do(func(a *Agent) {
		for pid := range maxKeptExits + more {
			cmd := &command{process: process{agent: a, kind: framing.KindSpawnWatch, pid: pid}}
			for _, out := range []*capture{&cmd.stdout, &cmd.stderr} {
				*out = capture{agent: a, spool: -1, limit: framing.MaxOutput}
			}
			cmd.stdout.keep([]byte("x"))
			a.deliver(newResult(cmd))
		}
	})
	h := b.dial()
	for pid := more; pid < maxKeptExits+more; pid++ {
		var r framing.ExecResult
		got, err := framing.ParseProcessExit(h.want(framing.TypeProcessExit, 0), &r)
		if err != nil || got != uint32(pid) || string(r.Stdout) != "x" {
			t.Fatal(got, pid, r, err)
		}
	}
	h.ping(1)
	b.quiet(1)
}

// TestTooManyCommands has more commands under way than there are buffers for their output.
func TestTooManyCommands(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	path, f := b.fifo("go")
	for seq := range uint32(maxCommands) {
		h.exec(seq, "echo out; echo err >&2; read x < "+path)
	}
	b.until("output held by all", func(a *Agent) bool {
		n := 0
		for _, cmd := range a.commands {
			if cmd.stdout.kept > 0 && cmd.stderr.kept > 0 {
				n++
			}
		}
		return n == maxCommands && a.captures.Free() == 0
	})
	h.exec(1000, "true")
	if text := h.want(framing.TypeError, 1000); !bytes.Contains(text, []byte("too many commands running (limit 256)")) {
		t.Errorf("%q", text)
	}
	h.ping(1001) // before any of them ends
	// One line for each: several read from the FIFO at once, byte by byte.
	f.WriteString(strings.Repeat("\n", maxCommands))
	for range maxCommands {
		typ, seq, payload := h.read()
		var r framing.ExecResult
		err := framing.ParseExecResult(payload, &r)
		if typ != framing.TypeExecResult || err != nil || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" {
			t.Fatal(typ, seq, r, err)
		}
	}
	b.quiet(1)
}

func TestTooManyShutdowns(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	path, f := b.fifo("go")
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + path} })
	h := b.dial()
	for seq := range uint32(maxSyncs + 2) {
		h.send(framing.AppendFrame(nil, framing.TypeShutdown, seq, nil))
	}
	h.want(framing.TypeError, maxSyncs+1) // one runs, 256 wait
	h.ping(1)
	f.WriteString("\n\n")
	for seq := range uint32(maxSyncs + 1) {
		h.want(framing.TypeShutdownAck, seq)
	}
}

// TestSpool writes to what there is, and truncates where that is not enough.
func TestSpool(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	command := "head -c 3145728 /dev/zero | tr '\\000' x"
	tests := []struct {
		name   string
		spools func(t *testing.T) [3]string
		kept   int // at least, and all if it is size
	}{
		{"the first is missing", func(t *testing.T) [3]string { return [3]string{"/nonexistent", t.TempDir(), ""} }, size},
		{"the first is no directory", func(t *testing.T) [3]string { return [3]string{"/dev/null", t.TempDir(), ""} }, size},
		{"none", func(t *testing.T) [3]string { return [3]string{} }, maxUnspooled},
		{"the first is full", func(t *testing.T) [3]string { return [3]string{fullDir(t, 8<<10), t.TempDir(), ""} }, size},
		{"all are full", func(t *testing.T) [3]string { return [3]string{fullDir(t, 8<<10)} }, maxUnspooled},
		{"it becomes full", func(t *testing.T) [3]string { return [3]string{fullDir(t, 1<<20), t.TempDir()} }, 1 << 19},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spools := test.spools(t)
			b := startBox(t)
			b.do(func(a *Agent) { a.disk.Spools = spools })
			h := b.dial()
			h.exec(1, command)
			r := h.result(1)
			kept := len(r.Stdout)
			if r.ExitCode != 0 || kept < test.kept || strings.Trim(string(r.Stdout), "x") != "" {
				t.Fatalf("code %d, %d bytes, stderr %q", r.ExitCode, kept, r.Stderr)
			}
			notice := ""
			if kept < size {
				notice = "[output truncated: " + sys.Num(size-kept) + " bytes of stdout, 0 bytes of stderr dropped]"
			}
			if string(r.Stderr) != notice {
				t.Errorf("stderr %q, want %q", r.Stderr, notice)
			}
			b.quiet(1)
		})
	}
}

// TestSpoolLimits bounds what outputs have on disk, one and all together, and gives the room back.
func TestSpoolLimits(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	b := newBox(t)
	b.limits = Limits{Spool: 2, SpoolTotal: 3}
	b.start()
	t.Cleanup(b.stop)
	path, f := b.fifo("go")
	h := b.dial()
	// Two that have written what they have to write and wait: the second finds one MiB left.
	for seq := range uint32(2) {
		h.exec(seq, "head -c 3145728 /dev/zero; read x < "+path)
		kept := min(3, 2*(int64(seq)+1)) * mib
		b.until("output is on disk", func(a *Agent) bool {
			return a.spooled >= kept-64<<10 && len(a.commands) == int(seq)+1 && a.commands[seq].stdout.kept+a.commands[seq].stdout.dropped == 3*mib
		})
	}
	f.WriteString("\n\n")
	total := 0
	for range 2 {
		_, _, payload := h.read()
		var r framing.ExecResult
		if err := framing.ParseExecResult(payload, &r); err != nil {
			t.Fatal(err)
		}
		if notice := "[output truncated: " + sys.Num(3*mib-len(r.Stdout)) + " bytes of stdout, 0 bytes of stderr dropped]"; string(r.Stderr) != notice {
			t.Errorf("stderr %q, want %q", r.Stderr, notice)
		}
		total += len(r.Stdout)
	}
	if total > 3*mib || total < 3*mib-64<<10 {
		t.Errorf("%d bytes kept of both, want 3 MiB", total)
	}
	b.quiet(1)
	b.do(func(a *Agent) {
		if a.spooled != 0 {
			t.Errorf("%d bytes still counted", a.spooled)
		}
	})
}

// fullDir is a directory of so little room, in bytes.
func fullDir(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+sys.Num(size)); err != nil {
		t.Skip("run as root, to mount a small tmpfs:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestPanic costs the connection that it happens on.
func TestPanic(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	other, h := b.dial(), b.dial()
	f := execFrame(framing.TypeExec, 1, 0, ": "+strings.Repeat("x", 200<<10))
	h.send(f[:100<<10])
	b.until("mapped", func(a *Agent) bool { return a.conns[1].long != nil })
	var long []byte
	b.do(func(a *Agent) { long, a.conns[1].long = a.conns[1].long, make([]byte, 1) }) // which it will write beyond
	h.send(f[100<<10:])
	h.wantEnd()
	unix.Munmap(long)
	other.ping(1)
	b.quiet(1)
}

// TestBusy answers pings while as many commands are under way as a host may care to start.
func TestBusy(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h, pinger := b.dial(), b.dial()
	path, f := b.fifo("go")
	var frames []byte
	for seq := range uint32(64) {
		frames = append(frames, execFrame(framing.TypeExec, seq, 0, "read x < "+path+"; echo y")...)
	}
	h.send(frames)
	pinger.ping(1)
	b.until("running", func(a *Agent) bool { return len(a.running) == 64 })
	pinger.ping(2)
	h.ping(100)
	f.WriteString(strings.Repeat("\n", 64))
	for range 64 {
		if typ, _, payload := h.read(); typ != framing.TypeExecResult || !bytes.Contains(payload, []byte("y\n")) {
			t.Fatal(typ, payload)
		}
	}
	b.quiet(2)
}

// TestUnheard counts a command that has exited as if it ran while its stdout waits for a host that does not read.
func TestUnheard(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.limits.Commands = 2
	b.start()
	defer b.stop()
	h, other := b.dial(), b.dial()
	spawn := func(seq uint32, command string) {
		h.send(framing.AppendExec(nil, framing.TypeSpawnWatch, seq, &framing.Exec{Command: []byte(command), Stream: true}))
	}
	// More than what is on the way holds, and then a pipe full.
	spawn(1, "cat /dev/zero")
	h.want(framing.TypeSpawnResult, 1)
	b.until("full", func(a *Agent) bool {
		c := a.conns[0]
		p := []unix.PollFd{{Fd: int32(c.stream.FD()), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, 0)
		return n == 0 && err == nil && c.stream.Queued() >= lineMark
	})
	spawn(2, "head -c 60000 /dev/zero")
	b.until("one is unheard", func(a *Agent) bool { return a.unheard() == 1 })
	other.exec(1, "true")
	if text := other.want(framing.TypeError, 1); !bytes.Contains(text, []byte("too many commands running (limit 2)")) {
		t.Errorf("%q", text)
	}
	h.Close()
	// The other connection gets what is left of both, and the second process's exit.
	for {
		typ, _, payload := other.read()
		var r framing.ExecResult
		if typ == framing.TypeProcessExit {
			if _, err := framing.ParseProcessExit(payload, &r); err != nil || r.ExitCode != 0 || len(r.Stdout) > 0 {
				t.Errorf("%+v, %v", r, err)
			}
			break
		}
	}
	b.do(func(a *Agent) { a.running[0].kill() })
}
