package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// dialExtended connects, and says hello.
func (b *box) dialExtended() *host {
	b.Helper()
	h := b.dial()
	h.extend()
	return h
}

func writeFrame(seq uint32, flags framing.WriteFlags, path string) []byte {
	return framing.AppendWrite(nil, seq, &framing.Write{Flags: flags, Path: []byte(path)})
}

func inputFrame(seq uint32, content []byte) []byte {
	return framing.AppendFrame(nil, framing.TypeInput, seq, content)
}

func closeFrame(seq uint32, s framing.Stream) []byte { return framing.AppendClose(nil, seq, s) }

// write begins a write and gives it content, which fits its first credit.
func (h *host) write(seq uint32, flags framing.WriteFlags, path, content string) {
	h.Helper()
	h.send(writeFrame(seq, flags, path))
	h.want(framing.TypeCredit, seq)
	h.send(inputFrame(seq, []byte(content)))
}

func changeFrame(seq uint32, op framing.ChangeOp, flags framing.FileFlags, path, other string) []byte {
	return framing.AppendChange(nil, seq, &framing.Change{Op: op, Flags: flags, Mode: 0o4777, UID: 99, GID: 99, ModTime: 99, Path: []byte(path), Other: []byte(other)})
}

func readFrameOf(seq, credit uint32, path string) []byte {
	return framing.AppendRead(nil, seq, &framing.Read{Credit: credit, Path: []byte(path)})
}

func listFrame(seq, credit uint32, path string) []byte {
	return framing.AppendList(nil, seq, &framing.List{Credit: credit, Path: []byte(path)})
}

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s: %.100q, %v, want %.100q", path, got, err, content)
	}
}

// TestOutputAllocs is not parallel, for what others allocate would be counted. Frames of reads and lists make no garbage.
func TestOutputAllocs(t *testing.T) {
	b := startBox(t)
	file, dir := filepath.Join(b.dir, "file"), filepath.Join(b.dir, "dir")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<30), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	const name, target, runs = 20, 30, 50
	for i := range 10 * runs {
		if err := os.Symlink(strings.Repeat("t", target), filepath.Join(dir, fmt.Sprintf("%020d", i))); err != nil {
			t.Fatal(err)
		}
	}
	const list = 5 * (framing.FileInfoSize + name + target)
	for _, test := range []struct {
		name    string
		request []byte
		content int // of what a credit brings, a frame
		frames  int
	}{
		{"read", readFrameOf(1, 0, file), maxOutput, 3},
		{"list", listFrame(1, 0, dir), list, 1},
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.SetNonblock(fds[1], true)
		b.do(func(a *Agent) { a.accept(fds[1], a.links[0], "test") })
		buf := make([]byte, 1<<20)
		unix.Write(fds[0], framing.AppendHello(nil, 0, framing.Version))
		for got := 0; got <= framing.HeaderSize; { // ready, and a hello_result
			n, err := unix.Read(fds[0], buf)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		unix.Write(fds[0], test.request)
		credit := framing.AppendCredit(nil, 1, framing.StreamOutput, uint32(test.content*test.frames))
		want := test.frames * (framing.OutputHeaderSize + test.content)
		allocs := testing.AllocsPerRun(runs, func() {
			unix.Write(fds[0], credit)
			for got := 0; got < want; {
				n, err := unix.Read(fds[0], buf)
				if err != nil || n == 0 || got+n > want {
					t.Fatal(n, err)
				}
				got += n
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for %d frames", test.name, allocs, test.frames)
		}
		unix.Close(fds[0])
	}
	b.quiet(0)
}

// TestReadsTakeTurns has a host with credit for everything see two files, of which one is much asked for first, a frame each in turn.
func TestReadsTakeTurns(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	path := filepath.Join(b.dir, "file")
	mustWrite(t, path, strings.Repeat("x", 4<<20))
	h := b.dialExtended()
	h.send(append(readFrameOf(1, 1, path), readFrameOf(2, 1, path)...))
	h.want(framing.TypeOutput, 1)
	h.want(framing.TypeOutput, 2)
	// By frames the first of these would be all that is read until it has done its work.
	b.do(func(a *Agent) {
		for _, o := range a.conns[0].ext.channels {
			o.credit(framing.StreamOutput, 1<<30)
		}
	})
	left, run, last := map[uint32]int{1: 4<<20 - 1, 2: 4<<20 - 1}, 0, uint32(0)
	turns := false // both are at it
	for left[1] > 0 && left[2] > 0 {
		typ, seq, payload := h.read()
		_, data, err := framing.ParseOutput(payload)
		if typ != framing.TypeOutput || err != nil {
			t.Fatal(typ, err)
		}
		left[seq] -= len(data)
		turns = turns || seq == 2
		if run++; seq != last {
			run = 1
		}
		if last = seq; turns && run > 2 {
			t.Fatalf("%d frames of seq %d in a row", run, seq)
		}
	}
	if !turns {
		t.Error("one after the other")
	}
	for left[1] > 0 || left[2] > 0 {
		_, seq, payload := h.read()
		left[seq] -= len(payload) - 1
	}
}

// TestFilesLost loses a connection in every state that an operation on files can be in.
func TestFilesLost(t *testing.T) {
	t.Parallel()
	states := []struct {
		name string
		do   func(h *host, path string) (after func())
	}{
		{"write opened", func(h *host, path string) func() {
			h.send(writeFrame(1, 0, path))
			h.want(framing.TypeCredit, 1)
			return nil
		}},
		{"write with content", func(h *host, path string) func() {
			h.write(1, 0, path, "content")
			h.ping(2)
			return nil
		}},
		{"write within an input", func(h *host, path string) func() {
			h.write(1, 0, path, "content")
			h.send(inputFrame(1, make([]byte, 60<<10))[:30<<10])
			return nil
		}},
		{"write that is synced, and others that wait for it", func(h *host, path string) func() {
			fifo, f := h.fifo("fifo")
			h.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + fifo} })
			for seq := range uint32(maxFileSyncs + 3) {
				h.write(seq, framing.WriteSync, path, "content")
				h.send(closeFrame(seq, framing.StreamInput))
			}
			h.until("syncing", func(a *Agent) bool { return a.fsyncs.running == maxFileSyncs && len(a.fsyncs.waiting) == 3 })
			h.ping(99)
			return func() { f.WriteString(strings.Repeat("x\n", maxFileSyncs)) }
		}},
		{"reads and lists without credit", func(h *host, path string) func() {
			for seq := range uint32(10) {
				h.send(readFrameOf(2*seq, 1, "/proc/version"))
				h.want(framing.TypeOutput, 2*seq)
				h.send(listFrame(2*seq+1, 1, h.dir))
			}
			h.ping(99)
			return nil
		}},
		{"a read that is not taken", func(h *host, path string) func() {
			h.send(readFrameOf(1, 1<<30, "/proc/self/exe"))
			h.until("stuck", func(a *Agent) bool { return !a.conns[0].stream.Idle() })
			return nil
		}},
	}
	for _, state := range states {
		for _, half := range []bool{false, true} {
			if half && state.name == "a read that is not taken" {
				continue // a stream that is busy is not read from, and does not see it
			}
			t.Run(fmt.Sprint(state.name, half), func(t *testing.T) {
				t.Parallel()
				b := startBox(t)
				dir := t.TempDir()
				path := filepath.Join(dir, "file")
				mustWrite(t, path, "old")
				h := b.dialExtended()
				after := state.do(h, path)
				if half {
					h.Conn.(interface{ CloseWrite() error }).CloseWrite()
				} else {
					h.Close()
				}
				b.until("lost", func(a *Agent) bool { return len(a.conns) == 0 || a.conns[0].ext.channels == nil })
				b.empty(dir)
				h.Close()
				if after != nil {
					after()
				}
				b.quiet(0)
				b.until("synced", func(a *Agent) bool {
					return a.fsyncs.running == 0 && len(a.fsyncs.waiting) == 0 && countChildren(a) == 0
				})
				wantContent(t, path, "old")
				b.empty(dir)
				held(t, dir)
			})
		}
	}
}

// held looks whether this process, the agent's too, has anything open below a directory.
func held(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) {
			t.Errorf("descriptor %s is still open: %s", e.Name(), to)
		}
	}
}

// TestFilesStopAmidst ends an agent with everything open.
func TestFilesStopAmidst(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	h := b.dialExtended()
	fifo, f := b.fifo("fifo")
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + fifo} })
	for seq := range uint32(maxFileSyncs + 1) {
		h.write(seq, framing.WriteSync, path, "new")
		h.send(closeFrame(seq, framing.StreamInput))
	}
	h.write(10, 0, path, "new")
	h.write(11, framing.WriteInPlace, filepath.Join(dir, "place"), "new")
	h.send(readFrameOf(12, 1, path))
	h.want(framing.TypeOutput, 12)
	h.send(listFrame(13, 0, dir))
	h.ping(14)
	b.stop()
	f.WriteString(strings.Repeat("x\n", maxFileSyncs)) // the children run on without the agent
	wantContent(t, path, "old")
	b.empty(dir)
	held(t, dir)
}

// TestFilesLetGo has files open when the disks come to their end. They are let go before, and nothing is left of those that were not whole.
func TestFilesLetGo(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	h := b.dialExtended()
	h.write(1, 0, path, "new")
	h.write(2, framing.WriteInPlace, filepath.Join(dir, "place"), "new")
	h.send(readFrameOf(3, 1, path))
	h.want(framing.TypeOutput, 3)
	h.send(listFrame(4, 0, dir))
	h.ping(5)
	b.do(func(a *Agent) {
		a.letGo()
		held(t, dir)
		b.empty(dir)
	})
	wantContent(t, path, "old")
	h.ping(6)
}

// TestWriteFullDisk leaves what there was, and no more.
func TestWriteFullDisk(t *testing.T) {
	t.Parallel()
	dir := fullDir(t, 64<<10)
	b := startBox(t)
	h := b.dialExtended()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	fill := func(seq uint32, flags framing.WriteFlags) (errno unix.Errno, value uint64) {
		h.send(writeFrame(seq, flags, path))
		for {
			typ, _, payload := h.read()
			switch typ {
			case framing.TypeCredit:
				_, n, _ := framing.ParseCredit(payload)
				h.send(inputFrame(seq, bytes.Repeat([]byte("n"), int(n))))
			case framing.TypeDone:
				d, _ := framing.ParseDone(payload)
				return unix.Errno(d.Errno), d.Value
			default:
				t.Fatal(typ)
			}
		}
	}
	if errno, value := fill(1, 0); errno != unix.ENOSPC || value == 0 || value > 64<<10 {
		t.Error(errno, value)
	}
	wantContent(t, path, "old")
	b.empty(dir)
	if errno, value := fill(2, framing.WriteInPlace); errno != unix.ENOSPC {
		t.Error(errno, value)
	} else {
		wantContent(t, path, strings.Repeat("n", int(value)))
	}
	h.send(writeFrame(3, framing.WriteInPlace|framing.WriteTruncate, path))
	h.want(framing.TypeCredit, 3)
	h.send(closeFrame(3, framing.StreamInput))
	h.wantDone(3, 0)
	h.write(4, 0, path, "new")
	h.send(closeFrame(4, framing.StreamInput))
	h.wantDone(4, 0)
	wantContent(t, path, "new")
	b.empty(dir)
	h.Close()
	b.quiet(0)
	held(t, dir)
}

// TestFilesLostAtRandom has connections break anywhere under a mixed load of files, 300 times.
func TestFilesLostAtRandom(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/true"} })
	random := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(path("d"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, path("old"), "old")
	mustWrite(t, path("long"), strings.Repeat("x", 300<<10))
	half := bytes.Repeat([]byte("y"), 20<<10)
	script := framing.AppendHello(nil, 0, 1)
	for seq := range uint32(4) {
		for i, flags := range []framing.WriteFlags{0, framing.WriteSync, framing.WriteInPlace | framing.WriteSync, framing.WriteSafe | framing.WriteParents} {
			s := 100*seq + uint32(i)
			script = append(script, writeFrame(s, flags, path("d/"+sys.Num(i)))...)
			script = append(script, readFrameOf(s+10, 100_000, path("long"))...)
			script = append(script, inputFrame(s, half)...)
			script = append(script, listFrame(s+20, 100, dir)...)
			script = append(script, inputFrame(s, half)...)
			if i != int(seq) {
				script = append(script, closeFrame(s, framing.StreamInput)...)
			}
			script = append(script, framing.AppendCredit(nil, s+20, framing.StreamOutput, 1000)...)
		}
		script = append(script, changeFrame(100*seq+30, framing.ChangeMkdir, framing.FileParents, path("d"), "")...)
		script = append(script, writeFrame(100*seq+31, 0, path("old"))...) // never whole
		script = append(script, inputFrame(100*seq+31, half)...)
	}
	for range 300 {
		h := b.dialRaw()
		written := make(chan struct{})
		n := random.IntN(len(script) + 1000)
		go func() { h.Write(script[:min(n, len(script))]); close(written) }() // it ends with the connection
		switch random.IntN(3) {
		case 0:
			h.Conn.Read(make([]byte, 1+random.IntN(200_000)))
		case 1:
			go io.Copy(io.Discard, h) // it ends with the connection
			<-written
		}
		h.Close()
	}
	b.quiet(0)
	b.until("synced", func(a *Agent) bool {
		return a.fsyncs.running == 0 && len(a.fsyncs.waiting) == 0 && countChildren(a) == 0
	})
	b.empty(dir)
	b.empty(path("d"))
	wantContent(t, path("old"), "old")
	whole := strings.Repeat("y", 40<<10)
	for _, name := range []string{"0", "1", "3"} { // 2 is written in place
		wantContent(t, path("d/"+name), whole)
	}
	held(t, dir)
	b.dial().ping(1)
}
