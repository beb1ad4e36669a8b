package agent

import (
	"encoding/binary"
	"io"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"wick/bench/budget"
	"wick/framing"
)

// TestAllocs is not parallel, for what others allocate would be counted. An agent collects no garbage before there is a good deal of it, so
// a request must not make much.
func TestAllocs(t *testing.T) {
	b := startBox(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	unix.SetNonblock(fds[1], true)
	b.do(func(a *Agent) { a.accept(fds[1], a.links[0], "test") })
	reply := make([]byte, 100)
	unix.Read(fds[0], reply) // ready
	for _, x := range []struct {
		name    string
		request []byte
		reply   int // its size
		allocs  uint64
		bytes   uint64 // the runtime's own, and the test's, are counted too
	}{
		{"ping", framing.AppendFrame(nil, framing.TypePing, 7, nil), framing.HeaderSize, budget.PingAllocs, 100},
		{"exec", execFrame(framing.TypeExec, 7, 0, "exit"), framing.HeaderSize + 12, budget.ExecAllocs, budget.ExecBytes},
		{"write_file", fileFrame(7, filepath.Join(b.dir, "file"), []byte("content")), framing.HeaderSize + 3, budget.WriteAllocs, 1 << 10},
	} {
		ask := func() {
			unix.Write(fds[0], x.request)
			if n, err := unix.Read(fds[0], reply); n != x.reply || err != nil {
				t.Fatal(x.name, n, err)
			}
		}
		// Not by testing.AllocsPerRun, which leaves one processor to the test and the agent: a loop that waits for more gives it up late.
		const times = 200
		ask()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			ask()
		}
		runtime.ReadMemStats(&after)
		allocs := (after.Mallocs - before.Mallocs) / times
		bytes := (after.TotalAlloc - before.TotalAlloc) / times
		t.Logf("%s: %v allocations of %d bytes", x.name, allocs, bytes)
		if allocs > x.allocs || bytes > x.bytes {
			t.Errorf("%s costs %v allocations of %d bytes, more than %v of %d: see bench/budget", x.name, allocs, bytes, x.allocs, x.bytes)
		}
	}
}

// TestStreamAllocs has a process echo, with every frame about its streams in each round: an input, an output, credit both ways. Kept or not,
// none of it leaves garbage. It is not parallel either.
func TestStreamAllocs(t *testing.T) {
	for _, keep := range []uint32{0, framing.KeepForEver} {
		b := startBox(t)
		h := b.extended()
		p := h.start(2, framing.Start{Args: words("cat"), Stdin: true, KeepMS: keep, OutputCredit: 64 << 10})
		p.next()
		const size = inputStep // as much as the guest grants anew at once
		round := append(framing.AppendHeader(nil, framing.TypeInput, 2, size), make([]byte, size)...)
		round = framing.AppendCredit(round, 2, framing.StreamOutput, size)
		frame := make([]byte, 64<<10)
		read := func(b []byte) {
			if _, err := io.ReadFull(h, b); err != nil {
				t.Fatal(err)
			}
		}
		echo := func() {
			h.send(round)
			// Output comes in as many frames as cat makes of it, and the credit between any of them.
			for output, granted := 0, 0; output < size || granted < size; {
				read(frame[:framing.HeaderSize])
				payload := frame[framing.HeaderSize : 4+binary.BigEndian.Uint32(frame)]
				read(payload)
				switch framing.Type(frame[4]) {
				case framing.TypeOutput:
					output += len(payload) - 1
				case framing.TypeCredit:
					granted += int(binary.BigEndian.Uint32(payload[1:]))
				default:
					t.Fatal(framing.Type(frame[4]))
				}
			}
		}
		for range 20 {
			echo()
		}
		var before, after runtime.MemStats
		const times = 500
		runtime.ReadMemStats(&before)
		for range times {
			echo()
		}
		runtime.ReadMemStats(&after)
		if n := after.Mallocs - before.Mallocs; n > times/10 { // the runtime's own, and the test's
			t.Errorf("keep %d: %d rounds of a stream cost %d allocations", keep, times, n)
		}
		h.Close()
	}
}
