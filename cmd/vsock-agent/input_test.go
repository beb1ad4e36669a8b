package main_test

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"wick/framing/wiretest"
)

// inputHost is a host that sends stdin to one process of an agent.
type inputHost struct {
	t      *testing.T
	path   string
	c      net.Conn
	r      *bufio.Reader
	credit int
	taken  int
	closed bool // stdin, by the guest
	output []byte
}

// startInputHost starts an agent, and connects to it.
func startInputHost(t *testing.T) *inputHost {
	binary, err := agentBinary()
	if err != nil {
		t.Fatal(err)
	}
	h := &inputHost{t: t, path: filepath.Join(t.TempDir(), "s")}
	agent := exec.Command(binary, "--unix-socket", h.path)
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Signal(syscall.SIGTERM); agent.Wait() })
	h.connect()
	return h
}

// connect dials until the agent listens, and says hello.
func (h *inputHost) connect() {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", h.path)
		if err == nil {
			h.c, h.r = c, bufio.NewReaderSize(c, 1<<20)
			break
		}
		if time.Now().After(end) {
			h.t.Fatal(err)
		}
	}
	h.t.Cleanup(func() { h.c.Close() })
	h.c.SetDeadline(time.Now().Add(2 * time.Minute))
	h.write(wiretest.Make(wiretest.Hello, 1, 1))
	h.until("hello_result", func(f wiretest.Frame) bool { return f.Type == wiretest.HelloResult })
}

func (h *inputHost) write(b []byte) {
	h.t.Helper()
	if _, err := h.c.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// until reads frames, and counts what they say, until one is what is waited for.
func (h *inputHost) until(what string, done func(wiretest.Frame) bool) {
	h.t.Helper()
	for {
		f, err := wiretest.ReadFrame(h.r)
		if err != nil {
			h.t.Fatalf("%s: %v", what, err)
		}
		fields, err := wiretest.Parse(f.Type, f.Payload)
		if err != nil {
			h.t.Fatal(err)
		}
		switch f.Type {
		case wiretest.Started:
			h.credit, h.taken = fields.Int("credit"), fields.Int("taken")
		case wiretest.Credit:
			h.credit += fields.Int("bytes")
			h.taken += fields.Int("bytes")
		case wiretest.Close:
			h.closed = h.closed || fields.Int("stream") == 0
		case wiretest.Output:
			h.output = append(h.output, []byte(fields.Text("data"))...)
			h.write(wiretest.Make(wiretest.Credit, 2, 1, len(fields.Text("data"))))
		}
		if done(f) {
			return
		}
	}
}

// start starts a shell command, which is kept for keep milliseconds.
func (h *inputHost) start(command string, keep int) {
	h.t.Helper()
	payload, err := wiretest.Assemble(wiretest.Start, []wiretest.Given{
		{Name: "id", Value: []byte("7")}, {Name: "flags", Value: []byte("3")}, {Name: "arg", Value: []byte(command)},
		{Name: "keep", Value: []byte(strconv.Itoa(keep))}, {Name: "credit", Value: []byte("262144")},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(wiretest.Raw(wiretest.Start, 2, payload))
	h.until("started", func(f wiretest.Frame) bool { return f.Type == wiretest.Started })
}

// TestLongInput sends stdin in frames of all lengths, cut where it happens, with requests between
// them. Every byte comes back in its place.
func TestLongInput(t *testing.T) {
	t.Parallel()
	h := startInputHost(t)
	h.start("exec cat", 0)
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 6<<20)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	for sent, pings := 0, 0; sent < len(content); {
		n := min(h.credit, len(content)-sent)
		if n == 0 {
			h.until("credit", func(f wiretest.Frame) bool { return f.Type == wiretest.Credit })
			continue
		}
		if random.IntN(3) == 0 {
			n = 1 + random.IntN(n)
		}
		frame := wiretest.Raw(wiretest.Input, 2, content[sent:sent+n])
		for len(frame) > 0 {
			piece := len(frame)
			if random.IntN(2) == 0 {
				piece = 1 + random.IntN(min(piece, 40_000))
			}
			h.write(frame[:piece])
			frame = frame[piece:]
		}
		sent += n
		h.credit -= n
		if random.IntN(8) == 0 {
			pings++
			h.write(wiretest.Raw(wiretest.Ping, uint32(pings), nil))
			h.until("pong", func(f wiretest.Frame) bool { return f.Type == wiretest.Pong && f.Seq == uint32(pings) })
		}
	}
	h.write(wiretest.Make(wiretest.Close, 2, 0))
	h.until("exited", func(f wiretest.Frame) bool { return f.Type == wiretest.Exited })
	if !bytes.Equal(h.output, content) {
		at := 0
		for at < min(len(h.output), len(content)) && h.output[at] == content[at] {
			at++
		}
		t.Errorf("%d bytes came back of %d, and the first that differs is number %d", len(h.output), len(content), at)
	}
}

// TestLongInputUnread has a process read nothing until its pipe is full. No more than the granted
// input waits for it in the agent, and all of it comes back in order.
func TestLongInputUnread(t *testing.T) {
	t.Parallel()
	h := startInputHost(t)
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start("read x <"+gate+"; exec cat", 0)
	var content []byte
	for h.credit >= 20_000 {
		frame := bytes.Repeat([]byte{byte('a' + len(content)/20_000%26)}, 20_000)
		content = append(content, frame...)
		h.credit -= len(frame)
		h.write(wiretest.Raw(wiretest.Input, 2, frame))
		h.write(wiretest.Raw(wiretest.Ping, 9, nil))
		h.until("pong", func(f wiretest.Frame) bool { return f.Type == wiretest.Pong })
	}
	if waits := len(content) - h.taken; waits > 60<<10 {
		t.Errorf("%d bytes wait in the agent, want at most 60 KiB", waits)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	h.write(wiretest.Make(wiretest.Close, 2, 0))
	h.until("exited", func(f wiretest.Frame) bool { return f.Type == wiretest.Exited })
	if !bytes.Equal(h.output, content) {
		t.Errorf("%d bytes came back of %d, or others", len(h.output), len(content))
	}
}

// TestLongInputRefused closes stdin while a long frame is under way. The rest of it is dropped, and
// the connection goes on.
func TestLongInputRefused(t *testing.T) {
	t.Parallel()
	h := startInputHost(t)
	h.start("head -c 200000 >/dev/null; exec <&-; exec sleep 1000", 0)
	content := make([]byte, 60<<10)
	for !h.closed {
		if n := min(h.credit, len(content)); n > 0 {
			h.write(wiretest.Raw(wiretest.Input, 2, content[:n]))
			h.credit -= n
		}
		h.write(wiretest.Raw(wiretest.Ping, 9, nil))
		h.until("pong", func(f wiretest.Frame) bool { return f.Type == wiretest.Pong })
	}
}

// TestLongInputAttached loses its connection in the middle of a long frame to a kept process. The
// next one learns how much of stdin was taken, and goes on there.
func TestLongInputAttached(t *testing.T) {
	t.Parallel()
	h := startInputHost(t)
	h.start("exec cat", 600_000)
	content := make([]byte, 4<<20)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	for sent, cuts := 0, 0; sent < len(content); {
		n := min(h.credit, len(content)-sent)
		if n == 0 {
			h.until("credit", func(f wiretest.Frame) bool { return f.Type == wiretest.Credit })
			continue
		}
		frame := wiretest.Raw(wiretest.Input, 2, content[sent:sent+n])
		if n < 50_000 || cuts == 8 || sent < cuts*300_000 {
			h.write(frame)
			sent += n
			h.credit -= n
			continue
		}
		cuts++
		h.write(frame[:9+20_000+cuts*1000])
		h.c.Close()
		h.connect()
		h.write(wiretest.Make(wiretest.Attach, 2, 7, len(h.output), 0, 262144, 65536))
		h.until("started", func(f wiretest.Frame) bool { return f.Type == wiretest.Started })
		if h.taken < sent-60<<10 || h.taken > sent+20_000+cuts*1000 {
			t.Fatalf("%d bytes are taken of %d to %d", h.taken, sent, sent+n)
		}
		sent = h.taken
	}
	h.write(wiretest.Make(wiretest.Close, 2, 0))
	h.until("exited", func(f wiretest.Frame) bool { return f.Type == wiretest.Exited })
	if !bytes.Equal(h.output, content) {
		t.Errorf("%d bytes came back of %d, or others", len(h.output), len(content))
	}
}
