package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"wick/bench/budget"
	"wick/framing"
)

// wick is the agent's index in agents.
const wick = 1

// within fails if a figure is over its budget.
func within(t *testing.T, what string, got, most float64) {
	t.Helper()
	t.Logf("%s: %g of %g", what, got, most)
	if got > most {
		t.Errorf("%s is %g, and the budget %g: see bench/budget", what, got, most)
	}
}

func TestBinaries(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		command string
		most    float64
	}{{"vsock-agent", budget.AgentBinary}, {"vm-init", budget.InitBinary}} {
		binary := filepath.Join(t.TempDir(), x.command)
		build := exec.Command("../scripts/build", "-o", binary, "amd64", "wick/cmd/"+x.command)
		build.Env = append(os.Environ(), "VERSION=0123456")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		info, err := os.Stat(binary)
		if err != nil {
			t.Fatal(err)
		}
		within(t, x.command+", bytes", float64(info.Size()), x.most)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("the budgets are for amd64")
	}
	a := start(t, wick)
	h := dial(t, a)
	awaitPinned(t, a, h)
	within(t, "idle VmRSS, kB", a.status(t, "VmRSS"), budget.IdleRSS)
	within(t, "idle RssAnon, kB", a.status(t, "RssAnon"), budget.IdleAnon)
	h.ask(t, execFrame("true"), framing.TypeExecResult)
	h.ask(t, fileFrame(file(), 1), framing.TypeWriteFileResult)
	within(t, "growth by a long output, kB", a.peak(t, func() { h.ask(t, execFrame(longOutput), framing.TypeExecResult) }), budget.PeakGrowth)
	frame := fileFrame(file(), large)
	within(t, "growth by a large file, kB", a.peak(t, func() { h.ask(t, frame, framing.TypeWriteFileResult) }), budget.PeakGrowth)
	work(t, h)
	within(t, "VmRSS after work, kB", a.status(t, "VmRSS"), budget.WorkedRSS)
	within(t, "threads", a.status(t, "Threads"), budget.Threads)
	// With one thread nothing ends a wait of the loop but an event.
	fds, err := filepath.Glob("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to == "anon_inode:[timerfd]" {
			t.Error("the agent has a timer descriptor, which one thread does not need")
		}
	}
}

// awaitPinned waits until the agent has dropped and locked the pages of its code, which it does in
// one turn after the start. An agent that may not lock memory never does.
func awaitPinned(t *testing.T, a *agent, h *host) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); a.status(t, "VmLck") == 0; {
		if time.Now().After(deadline) {
			t.Log("the agent has not locked its code")
			break
		}
		time.Sleep(time.Millisecond)
	}
	h.ask(t, pings(1), framing.TypePong) // the turn is over
}

// TestStream checks that a stream through a process leaves no memory behind. This also holds if it
// is kept for a host that may lose its connection.
func TestStream(t *testing.T) {
	size := 1 << 30
	if testing.Short() {
		size = 64 << 20
	}
	for _, x := range []struct {
		name   string
		keepMS uint32
	}{{"killed with its connection", 0}, {"kept", 60_000}} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, wick)
			s := greet(t, dial(t, a)).start("exec cat", x.keepMS)
			// a short one loads the pages of the program, which do not depend on the length
			through(s, 1<<20)
			within(t, "growth by a stream, kB", a.peak(t, func() { through(s, size) }), budget.StreamGrowth)
		})
	}
}

// TestIdle checks that an idle agent takes no CPU time at all, with a connection that has worked.
// The test has to wait, because it tests waiting.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	t.Parallel()
	a := start(t, wick)
	h := dial(t, a)
	h.ask(t, execFrame("true"), framing.TypeExecResult)
	switches, cpu := idle(t, a)
	within(t, "context switches while idle", float64(switches), budget.IdleSwitches)
	within(t, "CPU while idle, us", float64(cpu/time.Microsecond), budget.IdleCPU)
}
