package reactor

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leased returns the path of a program with a lease on it. Its execution blocks until release is
// called.
func leased(t *testing.T, script string) (path string, release func()) {
	t.Helper()
	path = t.TempDir() + "/program"
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGIO) // the kernel sends it to the owner of a lease that is to be released
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease to be had: %v", err)
	}
	return path, func() {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
			t.Fatal(err)
		}
	}
}

// startFuncs is a StartHandler.
type startFuncs struct {
	started func()
	exited  func(unix.WaitStatus)
}

func (f *startFuncs) Started()                 { f.started() }
func (f *startFuncs) Exited(s unix.WaitStatus) { f.exited(s) }

// TestSpawnDoesNotWait has a child wait for a lease. The loop goes on, and the child holds no
// descriptor of this process meanwhile.
func TestSpawnDoesNotWait(t *testing.T) {
	path, _ := leased(t, "")
	l := newLoop(t, 0)
	ours, theirs := pair(t)
	defer unix.Close(theirs)
	fd := null(t)
	var c Child
	var status unix.WaitStatus
	if err := l.Spawn(&c, &Command{Path: path, Args: []string{"program"}, Files: [3]int{fd, fd, fd}, Tell: true}, &startFuncs{
		func() {
			if status == 0 && c.Running() && held(c.PID()) {
				t.Error("Started was called while the child waits for the lease")
			}
		},
		func(s unix.WaitStatus) { status = s },
	}); err != nil {
		t.Fatal(err)
	}
	for !held(c.PID()) {
		poll(t, l)
	}
	closeFD(t, ours)
	if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d, %v from a connection that was closed, want 0 and no error", n, err)
	}
	if got := run(t, newLoop(t, 0), shell(t, "exit 3")); got.ExitStatus() != 3 {
		t.Errorf("another child ended with %#x, want exit code 3", got)
	}
	c.SignalGroup(unix.SIGKILL)
	until(t, l, "the exit", func() bool { return !c.Running() })
	if status.Signal() != unix.SIGKILL || c.Failure() != nil {
		t.Errorf("the child ended with %#x and failure %v, want SIGKILL and no failure",
			status, c.Failure())
	}
}

// held reports whether a child waits for the lease.
func held(pid int) bool {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/syscall")
	return strings.HasPrefix(string(b), strconv.Itoa(unix.SYS_EXECVE)+" ")
}
