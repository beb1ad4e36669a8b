package reactor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// holdUp starts a program whose execution is held up, with its output in a file. It returns once
// the program is held up.
func holdUp(t *testing.T, l *Loop, c *Child, program string, out *os.File) {
	t.Helper()
	fd := null(t)
	cmd := &Command{Path: program, Args: []string{program, "held"}, Files: [3]int{fd, int(out.Fd()), fd}}
	if err := l.Spawn(c, cmd, &startFuncs{nil, func(unix.WaitStatus) {}}); err != nil {
		t.Fatal(err)
	}
	for !held(c.PID()) {
		poll(t, l)
	}
}

// outputFile returns an empty file.
func outputFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestSharedMemory holds that a child has a copy of the memory of this process, unless the loop
// shares it. A command that is to be wiped has a copy nevertheless.
func TestSharedMemory(t *testing.T) {
	const kcmpVM = 1
	program, _ := leased(t, "")
	for _, x := range []struct {
		name        string
		share, wipe bool
		want        bool
	}{
		{name: "a copy"},
		{name: "shared", share: true, want: true},
		{name: "a copy to be wiped", share: true, wipe: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLoop(t, 0)
			if x.share {
				l.Share()
			}
			fd := null(t)
			var c Child
			cmd := &Command{Path: program, Args: []string{program}, Files: [3]int{fd, fd, fd}, Wipe: x.wipe}
			if err := l.Spawn(&c, cmd, &startFuncs{nil, func(unix.WaitStatus) {}}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				c.SignalGroup(unix.SIGKILL)
				until(t, l, "the exit", func() bool { return !c.Running() })
			}()
			order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(unix.Getpid()), uintptr(c.PID()), kcmpVM, 0, 0, 0)
			if errno != 0 {
				t.Skipf("kcmp: %v", errno)
			}
			if got := order == 0; got != x.want {
				t.Errorf("the child shares the memory: %v, want %v", got, x.want)
			}
		})
	}
}

// TestSharedImage holds that a child whose start is held up keeps its arguments, while others start
// and after the loop is closed.
func TestSharedImage(t *testing.T) {
	for _, x := range []struct {
		name      string
		meanwhile func(t *testing.T, l *Loop)
	}{
		{"others start", func(t *testing.T, l *Loop) {
			for i := range 20 {
				var c Child
				var got unix.WaitStatus
				exited := exitedFunc(func(s unix.WaitStatus) { got = s })
				if err := l.Spawn(&c, shell(t, `exit "$1"`, strconv.Itoa(i)), exited); err != nil {
					t.Fatal(err)
				}
				until(t, l, "the exit", func() bool { return !c.Running() })
				if got.ExitStatus() != i {
					t.Errorf("child %d ended with %#x", i, got)
				}
			}
		}},
		{"the loop is closed", func(t *testing.T, l *Loop) { l.Close() }},
	} {
		t.Run(x.name, func(t *testing.T) {
			program, release := leased(t, `echo "$1"`)
			l, err := New(0)
			if err != nil {
				t.Fatal(err)
			}
			l.Share()
			out := outputFile(t)
			var c Child
			holdUp(t, l, &c, program, out)
			pid := c.PID()
			x.meanwhile(t, l)
			release()
			if c.Running() && l.epfd >= 0 {
				until(t, l, "the exit", func() bool { return !c.Running() })
				l.Close()
			} else {
				unix.Wait4(pid, nil, 0, nil)
			}
			if got, err := os.ReadFile(out.Name()); string(got) != "held\n" || err != nil {
				t.Errorf("the program printed %q (%v), want %q", got, err, "held\n")
			}
		})
	}
}

// TestSharedImages holds that images are kept for the next children, but no more than keptImages.
func TestSharedImages(t *testing.T) {
	const most = keptImages + 4
	program, _ := leased(t, "")
	l := newLoop(t, 0)
	l.Share()
	out := outputFile(t)
	children := make([]Child, most)
	for i := range children {
		holdUp(t, l, &children[i], program, out)
	}
	if len(l.spawner.images) != most {
		t.Errorf("%d images for %d children, want one each", len(l.spawner.images), most)
	}
	for i := range children {
		children[i].SignalGroup(unix.SIGKILL)
	}
	until(t, l, "the exits", func() bool {
		return !slices.ContainsFunc(children, func(c Child) bool { return c.Running() })
	})
	run(t, l, shell(t, "exit 0"))
	if got := len(l.spawner.images); got != keptImages {
		t.Errorf("%d images are kept, want %d", got, keptImages)
	}
}
