package roomtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Patience is how long a test waits for an event that must come. A success does not depend on
// it.
const Patience = 30 * time.Second

// Runner runs a loop on a goroutine of its own, and functions of the test between its turns.
type Runner struct {
	*testing.T
	jobs chan func()
	wake reactor.Descriptor
	pipe [2]int
	done chan error
}

// Run calls open on a new goroutine, and then run, which runs the loop, there.
func Run(t *testing.T, open func() (loop *reactor.Loop, run func() error, err error)) *Runner {
	t.Helper()
	r := &Runner{T: t, jobs: make(chan func(), 1), done: make(chan error, 1)}
	if err := unix.Pipe2(r.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		loop, run, err := open()
		if err == nil {
			loop.Attach(&r.wake, r.pipe[0], r)
			r.wake.Want(reactor.Read)
		}
		opened <- err
		if err == nil {
			r.done <- run()
		}
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	return r
}

// Ready implements [reactor.Handler].
func (r *Runner) Ready(reactor.Events) {
	var buf [1]byte
	unix.Read(r.wake.FD(), buf[:])
	(<-r.jobs)()
}

// Do runs f on the loop's goroutine.
func (r *Runner) Do(f func()) {
	r.Helper()
	finished := make(chan struct{})
	r.jobs <- func() { defer close(finished); f() }
	unix.Write(r.pipe[1], []byte{0})
	select {
	case <-finished:
	case <-time.After(Patience):
		r.Fatal("the loop does not turn")
	}
}

// Until waits until f, which runs on the loop's goroutine, reports true.
func (r *Runner) Until(what string, f func() bool) {
	r.Helper()
	WaitFor(r.T, what, func() (ok bool) { r.Do(func() { ok = f() }); return ok })
}

// WaitEnd waits until run has returned, and returns its error.
func (r *Runner) WaitEnd() error {
	r.Helper()
	select {
	case err := <-r.done:
		unix.Close(r.pipe[1])
		return err
	case <-time.After(Patience):
		r.Fatal("the loop does not end")
		return nil
	}
}

// WaitFor waits until f reports true.
func WaitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", Patience, what)
		}
	}
}

// Fifo makes a FIFO. It is open for both directions, so that no side waits for the other to
// open it.
func (r *Runner) Fifo() (path string, f *os.File) {
	r.Helper()
	path = filepath.Join(r.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		r.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { f.Close() })
	return path, f
}

// WriteFile makes a file with that content.
func WriteFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// WantContent checks the content of a file.
func WantContent(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s has %.100q, %v, want %.100q", path, got, err, content)
	}
}

// WantClean checks that a directory has no temporary file of an agent.
func WantClean(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(dir + "/.wick*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// WantClosed checks that this process has nothing open below a directory.
func WantClosed(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) {
			t.Errorf("descriptor %s is still open: %s", e.Name(), to)
		}
	}
}

// FullDir returns a directory on a file system of so many bytes.
func FullDir(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+sys.Num(size)); err != nil {
		t.Skip("run as root, to mount a small tmpfs:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
