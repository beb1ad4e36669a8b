package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// FuzzAgent gives an agent a stream of bytes in pieces, and holds what comes back against what package framing makes of the stream: a
// reply for every request and nothing else, files as they were written, and afterwards nothing left. Commands and paths are tamed, see
// tamer.
func FuzzAgent(f *testing.F) {
	for _, stream := range append(fuzzStreams(), extensionStreams()...) {
		for _, cuts := range [][]byte{nil, {1}, {3, 200, 7}} {
			f.Add(stream, cuts)
		}
	}
	a := startFuzzed(f)
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		tame := tamer{root: a.files}
		tame.stream(stream)
		a.play(t, &tame, cuts)
		a.rest(t)
	})
}

// fuzzStreams are what fuzzing begins with.
func fuzzStreams() (all [][]byte) {
	exec := func(t framing.Type, e framing.Exec) []byte { return framing.AppendExec(nil, t, 5, &e) }
	file := func(path string, content []byte) []byte {
		w := framing.WriteFile{Path: []byte(path), Size: len(content)}
		return append(framing.AppendWriteFileHead(nil, 6, &w), content...)
	}
	add := func(path string, content []byte) []byte {
		w := framing.WriteFile{Path: []byte(path), Append: true, Size: len(content)}
		return append(framing.AppendWriteFileHead(nil, 6, &w), content...)
	}
	var env framing.Env
	env.Add([]byte("NAME"), []byte("value"))
	big := bytes.Repeat([]byte("x"), 70<<10)
	all = [][]byte{
		framing.AppendFrame(nil, framing.TypePing, 1, nil),
		framing.AppendFrame(nil, framing.TypeShutdown, 2, []byte("ignored")),
		framing.AppendFrame(nil, 0x42, 3, big),
		framing.AppendError(nil, 4, "of the host's"),
		exec(framing.TypeExec, framing.Exec{Command: []byte("0")}),
		exec(framing.TypeExec, framing.Exec{Command: []byte("23456"), TimeoutMS: 5, Env: env}),
		exec(framing.TypeSpawnWatch, framing.Exec{Command: []byte("234"), Root: true}),
		exec(framing.TypeSpawnWatch, framing.Exec{Command: big}),
		file("name", []byte("content")), file("a/b/c", big), file("", nil), file("dir/", nil),
		exec(framing.TypeSpawnWatch, framing.Exec{Command: []byte("234"), Stream: true, Log: []byte("log")}),
		add("name", []byte(" and more")), add("a/b/c", big), add("dir/", nil),
		{0, 0, 0, 4},
	}
	return append(all, bytes.Join(all, nil), all[9][:50<<10])
}

// fuzzed is an agent at a Unix socket, on a goroutine of its own.
type fuzzed struct {
	dir, files string
	a          *Agent
	control    net.Conn
	open       int // descriptors at rest
	pipe       [2]int
	wake       reactor.Descriptor
	jobs       chan func()
}

func startFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	// A fuzzing process has pipes to the one that leads it, which waits for their end: no command may have them.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		f.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	a := &fuzzed{dir: dir, files: filepath.Join(dir, "files"), jobs: make(chan func(), 1)}
	if err := errors.Join(os.Mkdir(a.files, 0o700), unix.Pipe2(a.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK)); err != nil {
		f.Fatal(err)
	}
	started, done := make(chan error), make(chan error, 1)
	path := filepath.Join(dir, "sock")
	go func() {
		agent, err := New(Config{
			UnixSocket: path, Log: NewLog(-1, LevelError), JobCommand: []string{"/bin/true"},
			Env: []string{"PATH=/bin:/usr/bin", "TMPDIR=" + dir},
		})
		if err == nil {
			a.a = agent
			// A fuzzing process may be killed at any time, and would leave its cgroups behind.
			agent.contain.Fail(unix.ENOSYS)
			agent.loop.Attach(&a.wake, a.pipe[0], a)
			a.wake.Want(reactor.Read)
		}
		started <- err
		if err == nil {
			done <- agent.Run()
		}
	}()
	if err := <-started; err != nil {
		f.Fatal(err)
	}
	if a.control, err = net.Dial("unix", path); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		a.control.Close()
		a.do(func() { a.a.Stop() })
		if err := <-done; err != nil {
			f.Error(err)
		}
		unix.Close(a.pipe[1])
	})
	if typ, _, _, err := readFrame(a.control); err != nil || typ != framing.TypeReady {
		f.Fatal(typ, err)
	}
	// The Go runtime opens what it polls with once it is needed, which must not look like a leak.
	time.Sleep(time.Millisecond)
	a.open = descriptorsNow()
	return a
}

// Ready runs a job on the agent's goroutine.
func (a *fuzzed) Ready(reactor.Events) {
	var b [1]byte
	unix.Read(a.wake.FD(), b[:])
	(<-a.jobs)()
}

// do runs f on the agent's goroutine, which must turn.
func (a *fuzzed) do(f func()) {
	finished := make(chan struct{})
	a.jobs <- func() { defer close(finished); f() }
	unix.Write(a.pipe[1], []byte{0})
	<-finished
}

func descriptorsNow() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

// readFrame reads a frame whole.
func readFrame(r io.Reader) (t framing.Type, seq uint32, payload []byte, err error) {
	var head [framing.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < framing.MinLength || length > framing.MaxLength {
		return 0, 0, nil, fmt.Errorf("a frame of length %d", length)
	}
	payload = make([]byte, length-framing.MinLength)
	if _, err = io.ReadFull(r, payload); err != nil {
		err = fmt.Errorf("within a frame: %v", err)
	}
	return framing.Type(head[4]), binary.BigEndian.Uint32(head[5:]), payload, err
}

// fuzzLimit is how long an agent may take for a stream.
const fuzzLimit = 30 * time.Second

// play sends what was tamed, cut as cuts says, and judges what comes back.
func (a *fuzzed) play(t *testing.T, tame *tamer, cuts []byte) {
	raw, err := net.Dial("unix", filepath.Join(a.dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := raw.(*net.UnixConn)
	c.SetDeadline(time.Now().Add(fuzzLimit))
	a.control.SetDeadline(time.Now().Add(fuzzLimit))
	sent := make(chan error, 1)
	go func() {
		rest := tame.out
		// Many small pieces would take for ever and tell nothing new.
		for i := 0; len(cuts) > 0 && len(rest) > 0 && i < 300; i++ {
			n := min(len(rest), 1+int(cuts[i%len(cuts)]))
			if _, err := c.Write(rest[:n]); err != nil {
				sent <- err
				return
			}
			rest = rest[n:]
		}
		_, err := c.Write(rest)
		if err == nil && !tame.refused {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	if typ, seq, _, err := readFrame(c); err != nil || typ != framing.TypeReady || seq != 0 {
		t.Fatalf("it begins with %v seq %d, %v", typ, seq, err)
	}
	running := map[uint32]bool{}
	for {
		typ, seq, payload, err := readFrame(c)
		if err == io.EOF || tame.refused && errors.Is(err, unix.ECONNRESET) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		a.exit(t, tame, running, typ, payload)
		if typ != framing.TypeProcessExit && typ != framing.TypeStdoutChunk {
			if err := tame.reply(typ, seq, payload); err != nil {
				t.Fatal(err)
			}
		}
		if typ == framing.TypeSpawnResult {
			pid, err := framing.ParseSpawnResult(payload)
			if err != nil || running[pid] {
				t.Fatal(pid, err)
			}
			running[pid] = true
		}
	}
	if err := <-sent; err != nil && !tame.refused {
		t.Fatal(err)
	}
	if err := tame.done(); err != nil {
		t.Fatal(err)
	}
	for len(running) > 0 {
		typ, _, payload, err := readFrame(a.control)
		if err != nil || typ != framing.TypeProcessExit && typ != framing.TypeStdoutChunk {
			t.Fatalf("%v, %v, with %d processes watched", typ, err, len(running))
		}
		a.exit(t, tame, running, typ, payload)
	}
}

// exit takes a frame that may be a process_exit, or a stdout_chunk before it.
func (a *fuzzed) exit(t *testing.T, tame *tamer, running map[uint32]bool, typ framing.Type, payload []byte) {
	if typ == framing.TypeStdoutChunk {
		if pid, data, err := framing.ParseStdoutChunk(payload); err != nil || len(data) == 0 || !running[pid] {
			t.Fatalf("%d bytes of stdout of %d, %v", len(data), pid, err)
		}
	}
	if typ != framing.TypeProcessExit {
		return
	}
	var r framing.ExecResult
	pid, err := framing.ParseProcessExit(payload, &r)
	if err != nil || !running[pid] {
		t.Fatalf("exit of %d, %v", pid, err)
	}
	delete(running, pid)
}

// rest wants the agent to be alive, and to hold nothing.
func (a *fuzzed) rest(t *testing.T) {
	limit := time.Now().Add(fuzzLimit)
	for {
		var held string
		a.do(func() {
			held = fmt.Sprintf("%d connections, %d commands, %d sessions, %d running, %d commits, %d exits, %d buffers",
				len(a.a.conns), len(a.a.commands), len(a.a.sessions), len(a.a.running), len(a.a.commits), len(a.a.exits),
				captureBuffers-a.a.captures.Free()+heldBuffers(a.a))
		})
		open := descriptorsNow()
		if held == "1 connections, 0 commands, 0 sessions, 0 running, 0 commits, 0 exits, 0 buffers" && open <= a.open {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("held at rest: %s, %d descriptors, %d at first", held, open, a.open)
		}
		time.Sleep(100 * time.Microsecond)
	}
	if _, err := a.control.Write(framing.AppendFrame(nil, framing.TypePing, 9, nil)); err != nil {
		t.Fatal(err)
	}
	if typ, seq, _, err := readFrame(a.control); err != nil || typ != framing.TypePong || seq != 9 {
		t.Fatal(typ, seq, err)
	}
	var left []string
	filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".wick") {
			left = append(left, path)
		}
		return nil
	})
	if len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
	if err := errors.Join(os.RemoveAll(a.files), os.Mkdir(a.files, 0o700)); err != nil {
		t.Fatal(err)
	}
}
