package agent

import (
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
