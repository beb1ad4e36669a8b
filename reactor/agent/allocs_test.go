package agent

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/bench/budget"
	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/wire"
)

// These tests are not parallel, because the allocations of others would be counted.

// rawHost is the host's side of a connection whose reads and writes allocate nothing.
type rawHost struct {
	*testing.T
	fd  int
	buf []byte
}

// dialPair connects a raw host to the agent, and reads the ready.
func (b *box) dialPair() *rawHost {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fds[0]) })
	unix.SetNonblock(fds[1], true)
	b.do(func(a *Agent) { a.server.Accept(fds[1], a.links[0], "test") })
	h := &rawHost{b.T, fds[0], make([]byte, 1<<20)}
	h.next()
	return h
}

// read reads n bytes.
func (h *rawHost) read(n int) []byte {
	h.Helper()
	for got := 0; got < n; {
		m, err := unix.Read(h.fd, h.buf[got:n])
		if err != nil || m == 0 {
			h.Fatal(m, err)
		}
		got += m
	}
	return h.buf[:n]
}

// next reads a frame.
func (h *rawHost) next() (t framing.Type, payload []byte) {
	h.Helper()
	head := h.read(framing.HeaderSize)
	t, n := framing.Type(head[4]), int(binary.BigEndian.Uint32(head))+4-framing.HeaderSize
	return t, h.read(n)
}

// cost returns what a call of f costs on average: allocations, and their bytes.
// testing.AllocsPerRun would leave one processor to the test and the agent, and a loop that
// waits for more gives it up late.
func cost(times int, f func()) (allocs, bytes uint64) {
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		f()
	}
	runtime.ReadMemStats(&after)
	n := uint64(times)
	return (after.Mallocs - before.Mallocs) / n, (after.TotalAlloc - before.TotalAlloc) / n
}

// TestAllocs holds what a request may allocate. An agent collects no garbage before there is
// much of it.
func TestAllocs(t *testing.T) {
	b := startBox(t)
	h := b.dialPair()
	for _, x := range []struct {
		name          string
		request       []byte
		allocs, bytes uint64 // those of the runtime, and of the test, are counted too
	}{
		{"ping", roomtest.Frame(framing.TypePing, 7), budget.PingAllocs, 100},
		{"exec", roomtest.Exec(framing.TypeExec, 7, 0, "exit"), budget.ExecAllocs, budget.ExecBytes},
		{"write_file", roomtest.File(7, filepath.Join(b.dir, "file"), []byte("content")), budget.WriteAllocs, 1 << 10},
	} {
		allocs, bytes := cost(200, func() {
			unix.Write(h.fd, x.request)
			h.next()
		})
		t.Logf("%s: %v allocations of %d bytes", x.name, allocs, bytes)
		if allocs > x.allocs || bytes > x.bytes {
			t.Errorf("%s costs %v allocations of %d bytes, more than %v of %d: see bench/budget",
				x.name, allocs, bytes, x.allocs, x.bytes)
		}
	}
}

// TestStreamAllocs holds that the frames of a read, of a list and of a process's streams leave
// no garbage. It is so for kept processes too. The process echoes, with credit both ways in
// each round.
func TestStreamAllocs(t *testing.T) {
	b := startBox(t)
	h := b.dialPair()
	unix.Write(h.fd, framing.AppendHello(nil, 0, framing.Version))
	h.next()
	none := func(name string, times int, f func()) {
		t.Helper()
		if allocs, bytes := cost(times, f); allocs > 0 {
			t.Errorf("%s: a round costs %d allocations of %d bytes, want none", name, allocs, bytes)
		}
	}
	const size = 15 << 10 // as much as the guest grants anew at once
	for seq, keep := range []uint32{0, framing.KeepForEver} {
		seq := uint32(seq)
		start := framing.Start{ID: 1 + uint64(seq), Args: words("cat"), Stdin: true, KeepMS: keep, OutputCredit: 64 << 10}
		unix.Write(h.fd, framing.AppendStart(nil, seq, &start))
		h.next()
		round := framing.AppendCredit(roomtest.Input(seq, make([]byte, size)), seq, framing.StreamOutput, size)
		none(fmt.Sprint("cat, keep ", keep), 500, func() {
			unix.Write(h.fd, round)
			// Output comes in as many frames as cat makes of it, and the credit between any of
			// them.
			for output, granted := 0, 0; output < size || granted < size; {
				switch t, payload := h.next(); t {
				case framing.TypeOutput:
					output += len(payload) - 1
				case framing.TypeCredit:
					granted += int(binary.BigEndian.Uint32(payload[1:]))
				default:
					h.Fatal(t)
				}
			}
		})
	}
	file, dir := filepath.Join(b.dir, "file"), filepath.Join(b.dir, "dir")
	roomtest.WriteFile(t, file, "")
	if err := os.Truncate(file, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const name, target, runs, entries = 20, 30, 50, 5
	for i := range 2 * entries * runs {
		if err := os.Symlink(strings.Repeat("t", target), filepath.Join(dir, fmt.Sprintf("%0*d", name, i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name          string
		request       []byte
		content, each int // of what a credit brings: bytes, and frames
	}{
		{"read", roomtest.Read(10, 0, file), wire.MaxOutput, 3},
		{"list", roomtest.List(10, 0, dir), entries * (framing.FileInfoSize + name + target), 1},
	} {
		unix.Write(h.fd, x.request)
		credit := framing.AppendCredit(nil, 10, framing.StreamOutput, uint32(x.content*x.each))
		none(x.name, runs, func() {
			unix.Write(h.fd, credit)
			h.read(x.each * (framing.OutputHeaderSize + x.content))
		})
		unix.Write(h.fd, roomtest.Close(10, framing.StreamOutput))
		h.next()
	}
}
