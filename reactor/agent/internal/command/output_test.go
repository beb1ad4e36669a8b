package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

const mib = 1 << 20

// truncated is the line that tells of n bytes of stdout that were dropped.
func truncated(n int) string {
	return "[output truncated: " + sys.Num(n) + " bytes of stdout, 0 bytes of stderr dropped]"
}

// slow makes every turn of a loop a long one, as a slow disk does.
type slow struct {
	reactor.Timer
	loop *reactor.Loop
}

func (s *slow) Expired(*reactor.Timer) {
	time.Sleep(launch.PipeGrace / 4)
	s.loop.Start(&s.Timer, 0, s)
}

// TestLastOutput has a command write more than is read within the time for which the end of its
// pipes is waited for, and exit. Its result has all of it.
func TestLastOutput(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h := r.Dial()
	path, f := r.Fifo()
	h.Exec(1, "read x < "+path+"; head -c "+sys.Num(mib)+" /dev/zero")
	r.untilRunning(1)
	s := slow{loop: r.Loop}
	r.Do(func() {
		if _, err := unix.FcntlInt(uintptr(r.s.commands[0].stdout.pipe.FD()), unix.F_SETPIPE_SZ, mib); err != nil {
			t.Error("F_SETPIPE_SZ:", err)
		}
		s.Expired(nil)
	})
	f.WriteString("\n")
	got := h.Result(1)
	r.Do(func() { s.Stop() })
	if got.ExitCode != 0 || len(got.Stdout) != mib || len(got.Stderr) != 0 {
		t.Errorf("code %d, %d bytes, stderr %q, want 0, %d bytes, nothing",
			got.ExitCode, len(got.Stdout), got.Stderr, mib)
	}
	r.quiet()
}

// TestSpool spools an output where there is room, and truncates it where there is too little.
func TestSpool(t *testing.T) {
	t.Parallel()
	const size = 3 * mib
	for name, x := range map[string]struct {
		spools func(t *testing.T) [3]string
		kept   int // at least, and all if it is size
	}{
		"the first is full": {func(t *testing.T) [3]string { return [3]string{roomtest.FullDir(t, 8<<10), t.TempDir(), ""} }, size},
		"all are full":      {func(t *testing.T) [3]string { return [3]string{roomtest.FullDir(t, 8<<10)} }, maxUnspooled},
		"it becomes full":   {func(t *testing.T) [3]string { return [3]string{roomtest.FullDir(t, mib), t.TempDir()} }, mib / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spools := x.spools(t)
			r := newRoom(t, nil)
			r.Do(func() { r.disk.Spools = spools })
			h := r.Dial()
			h.Exec(1, "head -c "+sys.Num(size)+" /dev/zero | tr '\\000' x")
			got := h.Result(1)
			kept, notice := len(got.Stdout), ""
			if kept < size {
				notice = truncated(size - kept)
			}
			if got.ExitCode != 0 || kept < x.kept || strings.Trim(string(got.Stdout), "x") != "" || string(got.Stderr) != notice {
				t.Errorf("code %d, %d bytes, stderr %q; want 0, %d bytes, %q",
					got.ExitCode, kept, got.Stderr, x.kept, notice)
			}
			r.quiet()
		})
	}
}

// TestSpoolLimits bounds what an output, and all of them together, have on disk. Room that
// becomes free is not for an output that has been truncated, whose result is its beginning
// without a hole.
func TestSpoolLimits(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(cfg *Config) { cfg.Spool, cfg.SpoolTotal = 2, 3 })
	first, endFirst := r.Fifo()
	second, endSecond := r.Fifo()
	h, other := r.Dial(), r.Dial()
	spooled := func(n int64) {
		t.Helper()
		r.Until("as much is on disk", func() bool {
			out := &r.s.commands[len(r.s.commands)-1].stdout
			return r.s.Spooled() == n && out.kept+out.dropped == 3*mib
		})
	}
	want := func(h *roomtest.Host, kept, dropped int) {
		t.Helper()
		got := h.Result(1)
		if len(got.Stdout) != kept || strings.Trim(string(got.Stdout), "x") != "" || string(got.Stderr) != truncated(dropped) {
			t.Errorf("%d bytes, stderr %q; want %d, %q", len(got.Stdout), got.Stderr, kept, truncated(dropped))
		}
	}
	write := "head -c 3145728 /dev/zero | tr '\\000' x; read x < "
	other.Exec(1, write+first)
	spooled(2 * mib)
	h.Exec(1, write+second+"; head -c 100000 /dev/zero")
	spooled(3 * mib)
	endFirst.WriteString("\n")
	want(other, 2*mib, mib)
	r.Until("there is room again", func() bool { return r.s.Spooled() == mib })
	endSecond.WriteString("\n")
	want(h, mib, 2*mib+100000)
	r.quiet()
}

// TestSpoolLimitLowered lowers the limit below what an output has on disk already. The rest of the
// output is dropped.
func TestSpoolLimitLowered(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(cfg *Config) { cfg.SpoolTotal = 3 })
	gate, open := r.Fifo()
	h := r.Dial()
	h.Exec(1, "head -c 2097152 /dev/zero | tr '\\000' x; read x < "+gate+"; head -c 100000 /dev/zero")
	r.Until("as much is on disk", func() bool { return r.s.Spooled() == 2*mib })
	r.Do(func() { r.s.SpoolTotal = 1 })
	open.WriteString("\n")
	got := h.Result(1)
	if len(got.Stdout) != 2*mib || string(got.Stderr) != truncated(100000) {
		t.Errorf("%d bytes, stderr %q; want %d, %q", len(got.Stdout), got.Stderr, 2*mib, truncated(100000))
	}
	r.quiet()
}

// TestSpoolRoomReturnsAtOnce frees room on disk right after the piece of output that did not
// fit in it.
func TestSpoolRoomReturnsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.Do(func() {
		o := capture{service: r.s, command: &command{service: r.s}, spool: -1, limit: framing.MaxOutput}
		piece := func(c byte) { o.add(bytes.Repeat([]byte{c}, 50000)) }
		piece('a')
		piece('b') // goes to a file
		others := r.s.spoolRoom() - 20000
		r.s.spooled += others
		piece('c')
		r.s.spooled -= others
		piece('d')
		got := make([]byte, o.kept)
		o.readAt(got, 0)
		if o.kept != 120000 || o.dropped != 80000 || bytes.IndexByte(got, 'd') >= 0 {
			t.Errorf("kept %d bytes with a d at %d, dropped %d; want 120000, none, 80000",
				o.kept, bytes.IndexByte(got, 'd'), o.dropped)
		}
		o.release()
	})
	r.quiet()
}

// TestLateRest fills a pipe further, and lets another program read from it, after the wait for
// its end is over. No more bytes are waited for than were in the pipe then, so that an output
// without an end does not delay the result.
func TestLateRest(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.Do(func() {
		var o capture
		w, err := o.open(r.s, &command{service: r.s})
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(w)
		defer o.release()
		defer o.close()
		drain := func(what string, want int) {
			t.Helper()
			if over := o.drainBounded(); over != (want == 0) || o.rest != want {
				t.Errorf("%s: over %v, %d bytes waited for, want %d", what, over, o.rest, want)
			}
		}
		unix.Write(w, make([]byte, 100))
		drain("at first", 100)
		unix.Write(w, make([]byte, 1000))
		drain("once more was written", 100)
		unix.Read(o.pipe.FD(), make([]byte, 1050))
		drain("once another has read", 50)
		unix.Write(w, make([]byte, 1000))
		drain("once more was written again", 50)
		if o.Ready(0); !o.drained() {
			t.Error("all was read, and still waited for")
		}
	})
}

// TestMoreOutputsThanBuffers has more outputs at a time than there are buffers for them. The
// others go to files at once.
func TestMoreOutputsThanBuffers(t *testing.T) {
	t.Parallel()
	const many = 8
	r := newRoom(t, nil)
	h := r.Dial()
	path, f := r.Fifo()
	for seq := range uint32(many) {
		h.Exec(seq, "echo out; echo err >&2; read x < "+path)
	}
	r.Until("all outputs are held", func() bool {
		n := int64(0)
		for _, cmd := range r.s.commands {
			n += cmd.stdout.kept + cmd.stderr.kept
		}
		return n == many*int64(len("out\nerr\n"))
	})
	r.Do(func() {
		if _, _, buffers := r.s.Held(); buffers != r.s.Captures {
			t.Errorf("%d buffers are in use, want all %d", buffers, r.s.Captures)
		}
	})
	// One line for each: several read from the FIFO at once, byte by byte.
	f.WriteString(strings.Repeat("\n", many))
	for range many {
		typ, seq, payload := h.Next()
		var got framing.ExecResult
		err := framing.ParseExecResult(payload, &got)
		if err != nil || string(got.Stdout) != "out\n" || string(got.Stderr) != "err\n" {
			t.Fatalf("%v %d: %+v, %v", typ, seq, got, err)
		}
	}
	r.quiet()
}

// TestHeldOutput holds the disk under commands. Output that fits in memory comes, and so does
// what is on disk already, whose file is closed later. Other output waits for the release, that
// of a killed command too.
func TestHeldOutput(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h, slow := r.Dial(), r.Dial()
	path, gate := r.Fifo()
	h.Exec(1, "head -c 500000 /dev/zero; read x < "+path+"; head -c 500000 /dev/zero")
	r.Until("output is on disk", func() bool { return r.s.Spooled() == 500000 })
	slow.Exec(1, "head -c 3000000 /dev/zero")
	r.Until("its result is being sent", func() bool { return len(r.s.commands) == 1 && r.Server.All()[1].Busy() })
	r.Do(r.disk.Hold)
	if got := slow.Result(1); len(got.Stdout) != 3000000 {
		t.Errorf("%d bytes from disk, want 3000000", len(got.Stdout))
	}
	r.Until("its file waits to be closed", func() bool { return r.disk.Waits() == 1 })
	gate.WriteString("\n")
	h.Exec(2, "head -c 60000 /dev/zero")
	if got := h.Result(2); len(got.Stdout) != 60000 {
		t.Errorf("%d bytes from memory, want 60000", len(got.Stdout))
	}
	h.Exec(3, "head -c 100000 /dev/zero; kill -9 $$")
	r.Until("two outputs wait", func() bool { return r.disk.Waiting() == 2 })
	r.untilRunning(1)
	r.Do(r.disk.Release)
	for range 2 {
		_, seq, payload := h.Next()
		var got framing.ExecResult
		err := framing.ParseExecResult(payload, &got)
		if want := map[uint32]int{1: 1000000, 3: 100000}[seq]; err != nil || len(got.Stdout) != want {
			t.Errorf("command %d: %d bytes, %v, want %d", seq, len(got.Stdout), err, want)
		}
	}
	r.quiet()
	r.Do(func() {
		if n := r.disk.Waits(); n != 0 {
			t.Errorf("%d files wait after the release", n)
		}
	})
}

// TestFrozenLog has a command stream to a log on a disk that is held meanwhile. It waits, and
// other streams do not.
func TestFrozenLog(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h, other := r.Dial(), r.Dial()
	path, gate := r.Fifo()
	log := filepath.Join(t.TempDir(), "log")
	h.Send(roomtest.Stream(1, "read x < "+path+"; seq 1 20000; echo end >&2; exit 3", log))
	h.Want(framing.TypeSpawnResult, 1)
	r.Do(r.disk.Hold)
	h.Send(roomtest.Stream(3, "echo never", log))
	h.WantError(3, "frozen")
	gate.WriteString("\n")
	r.Until("the log waits", func() bool { return r.disk.Waiting() == 1 })
	other.Send(roomtest.Stream(2, "echo hi", ""))
	other.Want(framing.TypeSpawnResult, 2)
	if data, got := other.Exit(); string(data) != "hi\n" || got.ExitCode != 0 {
		t.Errorf("another stream: %q, %+v, want hi and code 0", data, got)
	}
	roomtest.WantContent(t, log, "")
	r.Do(r.disk.Release)
	data, got := h.Exit()
	if got.ExitCode != 3 || string(got.Stderr) != "end\n" || len(data) != 108894 {
		t.Errorf("%d bytes came, %+v, want 108894, code 3 and end", len(data), got)
	}
	if logged, err := os.ReadFile(log); err != nil || !bytes.Equal(logged, data) {
		t.Errorf("%d bytes are logged, %v, want the %d that came", len(logged), err, len(data))
	}
	r.quiet()
}

// TestStolenOutput has another program read what a streamed command has left in its pipe. The
// exit does not wait for it.
func TestStolenOutput(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h := r.Dial()
	path, gate := r.Fifo()
	held, _ := r.Fifo() // another process waits for the test's end, and holds the pipe
	h.Send(roomtest.Stream(1, "read x < "+path+"; echo stolen; read x < "+held+" & exit 4", ""))
	h.Want(framing.TypeSpawnResult, 1)
	h.Close()
	r.Lost(0)
	gate.WriteString("\n")
	r.Until("no more than what is in the pipe is waited for", func() bool {
		return r.s.countUnread() == 1 && r.s.commands[0].stdout.state == draining
	})
	r.Do(func() {
		if n, err := sys.Read(r.s.commands[0].stdout.pipe.FD(), make([]byte, 100)); n != len("stolen\n") || err != nil {
			t.Errorf("read %d bytes, %v, want what was written", n, err)
		}
	})
	h = r.Dial()
	h.Ping(1)
	if data, got := h.Exit(); len(data) != 0 || got.ExitCode != 4 {
		t.Errorf("%q, %+v, want nothing and code 4", data, got)
	}
}

// TestUnread counts a command that has exited as if it ran, while its stdout waits for a host
// that does not read. When that host is gone, another gets the output and the exit.
func TestUnread(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.Do(func() { r.Table.Limit = 2 })
	h, other := r.Dial(), r.Dial()
	h.Send(roomtest.Stream(1, "cat /dev/zero", ""))
	h.Want(framing.TypeSpawnResult, 1)
	r.Until("it waits for the host", func() bool { c := r.Server.All()[0]; return c.Busy() && c.Crowded() })
	h.Send(roomtest.Stream(2, "head -c 60000 /dev/zero", ""))
	r.Until("one is unread", func() bool { return r.s.countUnread() == 1 })
	other.Exec(1, "true")
	other.WantError(1, "too many commands running (limit 2)")
	h.Close()
	if _, got := other.Exit(); got.ExitCode != 0 || len(got.Stdout) > 0 {
		t.Errorf("the exit: %+v, want code 0 without output", got)
	}
	r.Do(func() { r.Table.Running()[0].Kill() })
}

// TestExitsKept ends with process_exits that no host has taken. The oldest that is too many is
// dropped, also after the limit was lowered.
func TestExitsKept(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(cfg *Config) { cfg.Exits = 2 })
	h := r.Dial()
	path, f := r.Fifo()
	later, g := r.Fifo()
	for seq := range uint32(4) {
		from := path
		if seq == 3 {
			from = later
		}
		h.Send(roomtest.Exec(framing.TypeSpawnWatch, seq, 0, "read x < "+from))
		h.Want(framing.TypeSpawnResult, seq)
	}
	h.Close()
	r.Lost(0)
	f.WriteString("\n\n\n")
	want := func(running, kept int) {
		t.Helper()
		r.Until("process_exits are kept", func() bool {
			commands, exits, _ := r.s.Held()
			return commands == running && exits == kept
		})
	}
	want(1, 2)
	r.Do(func() { r.s.Exits = 1 })
	g.WriteString("\n")
	want(0, 1)
}
