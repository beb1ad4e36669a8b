package agent

import (
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestExecAllocs is not parallel, for what others allocate would be counted. An agent collects no garbage before there is a
// good deal of it, so a command must not make much.
func TestExecAllocs(t *testing.T) {
	b := startBox(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	unix.SetNonblock(fds[1], true)
	b.do(func(a *Agent) { a.accept(fds[1], a.links[0], "test") })
	exec := execFrame(framing.TypeExec, 7, 0, "exit")
	result := make([]byte, 100)
	unix.Read(fds[0], result) // ready
	allocs := testing.AllocsPerRun(100, func() {
		unix.Write(fds[0], exec)
		if n, err := unix.Read(fds[0], result); n != framing.HeaderSize+12 || err != nil {
			t.Fatal(n, err)
		}
	})
	const most = 30
	if allocs > most {
		t.Errorf("a command costs %v allocations, more than %d", allocs, most)
	}
	t.Logf("%v allocations", allocs)
}
