package reactor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { roles["idle"] = idle }

// TestIdle holds that an idle loop never wakes up, in any thread. The loop has one of everything.
// This test takes as long as it waits.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	for _, x := range []struct{ name, debug string }{
		{"preempted by signals", ""},
		{"not preempted", "GODEBUG=asyncpreemptoff=1"}, // as scripts/build makes the programs
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := startSignaled(t, role(t, "idle", "GOMAXPROCS=1", "GOGC=off", x.debug))
			defer s.end()
			s.cmd.Process.Signal(unix.SIGUSR1) // what comes last is an event and no timer
			const window, tries = 2 * time.Second, 6
			var seen []int
			for range tries {
				before := switches(t, s.cmd.Process.Pid)
				time.Sleep(window)
				n := switches(t, s.cmd.Process.Pid) - before
				if n == 0 {
					return
				}
				seen = append(seen, n) // the first wait includes the end of the start
			}
			t.Errorf("%v context switches in windows of %v, want one without any", seen, window)
		})
	}
}

// switches returns the number of context switches of all threads of a process.
func switches(t *testing.T, pid int) (total int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "voluntary_ctxt_switches") {
				n, err := strconv.Atoi(strings.TrimSpace(value))
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
	}
	return total
}

// idle runs a loop with a listener, a stream, a child, signals and a timer that is far off.
func idle() error {
	if err := ClaimSignals(allSignals...); err != nil {
		return err
	}
	l, err := New(4)
	if err != nil {
		return err
	}
	l.HandleSignals(signalFunc(func(SignalSet) {}))
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fd, err := ListenUnix(dir + "/s")
	if err != nil {
		return err
	}
	var ln Listener
	l.Listen(&ln, fd, "s", &gate{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var h hand
	h.s.Open(l, fds[0], "far end", &h)
	var tm Timer
	l.Start(&tm, time.Hour, expiredFunc(func(*Timer) {}))
	var c Child
	if err := l.Spawn(&c, &Command{Path: "/bin/cat", Args: []string{"cat"}, Files: [3]int{0, 1, 2}}, exitedFunc(func(unix.WaitStatus) { l.Stop() })); err != nil {
		return err
	}
	fmt.Println("ready")
	return l.Run()
}
