package reactor

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/leaktest"
)

// roleVariable names the role that a process of this test binary plays instead of running the
// tests. Signals, limits and being process 1 affect a whole process, so their tests use separate
// processes.
const roleVariable = "REACTOR_TEST_ROLE"

var roles = map[string]func() error{}

func TestMain(m *testing.M) {
	if name := os.Getenv(roleVariable); name != "" {
		if err := roles[name](); err != nil {
			fmt.Fprintf(os.Stderr, "role %s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Descriptors that the parent left open must not appear in the children of the tests.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// role prepares a process that plays a role.
func role(t testing.TB, name string, env ...string) *exec.Cmd {
	t.Helper()
	if roles[name] == nil {
		t.Fatalf("no role %q", name)
	}
	// os.Args[0] may be wrong in an emulator of another processor, and this is not.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+name), env...)
	return cmd
}

// play runs a role to its end and returns its output.
func play(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return out.String()
}

type readyFunc func(Events)

func (f readyFunc) Ready(ev Events) { f(ev) }

type expiredFunc func(*Timer)

func (f expiredFunc) Expired(t *Timer) { f(t) }

type exitedFunc func(unix.WaitStatus)

func (f exitedFunc) Exited(s unix.WaitStatus) { f(s) }

// failer records the panics of its handler.
type failer struct {
	values []any
	stacks []string
}

func (f *failer) Failed(value any, stack []byte) {
	f.values = append(f.values, value)
	f.stacks = append(f.stacks, string(stack))
}

// once fails the test unless exactly one panic was recorded, with that value and a stack that shows
// the function.
func (f *failer) once(t *testing.T, value, function string) {
	t.Helper()
	if len(f.values) != 1 || f.values[0] != value {
		t.Fatalf("Failed was called with %v, want %q once", f.values, value)
	}
	if !strings.Contains(f.stacks[0], function) {
		t.Errorf("the stack does not show %s:\n%s", function, f.stacks[0])
	}
}

func newLoop(t testing.TB, buffers int) *Loop {
	t.Helper()
	l, err := New(buffers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// allFree fails the test if a stream still holds a buffer.
func allFree(t testing.TB, l *Loop) {
	t.Helper()
	if have, want := l.buffers.Free(), len(l.buffers.state)-1; have != want { // one is the scratch buffer
		t.Errorf("%d of %d buffers are free, want all", have, want)
	}
}

// patience is the longest that a step may take on the slowest machine. A success does not depend on
// it.
const patience = time.Minute

// fewTurns is more than a loop takes that does not spin. One wait is one turn, except when a signal
// of the runtime interrupts it, or when clocks disagree. A spin has thousands.
const fewTurns = 20

// until runs turns until done reports true, and returns their number.
func until(t testing.TB, l *Loop, what string, done func() bool) (turns int) {
	t.Helper()
	late := false
	var watch Timer
	l.Start(&watch, patience, expiredFunc(func(*Timer) { late = true }))
	defer watch.Stop()
	for !done() {
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
		if late {
			t.Fatalf("%s: not within %v", what, patience)
		}
		turns++
	}
	return turns
}

// poll runs one turn that does not wait.
func poll(t testing.TB, l *Loop) {
	t.Helper()
	l.stopped = true
	err := l.turn()
	l.stopped = false
	if err != nil {
		t.Fatal(err)
	}
}

// quiet fails the test if epoll reports an event, because the loop would spin then.
func quiet(t testing.TB, l *Loop) {
	t.Helper()
	l.arm()
	var events [8]unix.EpollEvent
	n, err := unix.EpollWait(l.epfd, events[:], 0)
	if n = l.pulse.filter(events[:max(n, 0)]); n != 0 || err != nil {
		t.Errorf("epoll reports %d events, %v, %+v", n, err, events[:n])
	}
}

func pair(t testing.TB) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func eventfd(t testing.TB, count uint) int {
	t.Helper()
	fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// unwatchable returns a regular file, which epoll refuses.
func unwatchable(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func closeFD(t testing.TB, fd int) {
	t.Helper()
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
}

// isOpen reports whether a descriptor number is in use.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// write writes all of s to a non-blocking descriptor that has room for it.
func write(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(s), err)
	}
}

// drain reads all bytes that are there.
func drain(t testing.TB, fd int) []byte {
	t.Helper()
	var all []byte
	b := make([]byte, BufferSize)
	for {
		n, err := unix.Read(fd, b)
		if n <= 0 {
			if err != nil && err != unix.EAGAIN && err != unix.ECONNRESET {
				t.Fatal(err)
			}
			return all
		}
		all = append(all, b[:n]...)
	}
}
