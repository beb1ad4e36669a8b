package reactor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run spawns a command and turns the loop until it has exited.
func run(t *testing.T, l *Loop, cmd *Command) (status unix.WaitStatus) {
	t.Helper()
	var c Child
	exits := 0
	if err := l.Spawn(&c, cmd, exitedFunc(func(s unix.WaitStatus) { status = s; exits++ })); err != nil {
		t.Fatal(err)
	}
	pid := c.PID()
	until(t, l, "the exit", func() bool { return exits > 0 })
	if exits != 1 || c.Running() || c.PID() != 0 || len(l.children) != 0 {
		t.Errorf("exited %d times, running %v", exits, c.Running())
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("not reaped: %v", err)
	}
	return status
}

// fails spawns a command that cannot be executed, and returns why, whenever that is found out. It
// checks that nothing of the command is left.
func fails(t *testing.T, l *Loop, cmd *Command) error {
	t.Helper()
	var c Child
	var status unix.WaitStatus
	err := l.Spawn(&c, cmd, exitedFunc(func(s unix.WaitStatus) { status = s }))
	if err == nil {
		until(t, l, "the exit", func() bool { return !c.Running() })
		if err = c.Failure(); err != nil && status.ExitStatus() != 127 {
			t.Errorf("%s: status %#x", cmd.Path, status)
		}
	}
	poll(t, l)
	if c.Running() || len(l.children) != 0 || len(l.free) != len(l.slots) {
		t.Errorf("%s: left something behind", cmd.Path)
	}
	return err
}

func TestChildStatus(t *testing.T) { ways(t, testChildStatus) }

func testChildStatus(t *testing.T, l *Loop) {
	for _, code := range []int{0, 1, 42, 255} {
		if got := run(t, l, shell(t, fmt.Sprintf("exit %d", code))); !got.Exited() || got.ExitStatus() != code {
			t.Errorf("exit %d: %#x", code, got)
		}
	}
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGUSR1} {
		if got := run(t, l, shell(t, fmt.Sprintf("kill -%d $$", sig))); !got.Signaled() || got.Signal() != sig {
			t.Errorf("%v: %#x", sig, got)
		}
	}
	quiet(t, l)
}

func TestSpawnErrors(t *testing.T) { ways(t, testSpawnErrors) }

func testSpawnErrors(t *testing.T, l *Loop) {
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir() + "/garbage"
	if err := os.WriteFile(garbage, []byte("\x7fELFx"), 0o700); err != nil {
		t.Fatal(err)
	}
	long := shell(t, "exit 0", strings.Repeat("x", 4<<20))
	fd := null(t)
	files := [3]int{fd, fd, fd}
	for _, x := range []struct {
		cmd  *Command
		want unix.Errno
	}{
		{&Command{Path: "/nowhere/at/all", Args: []string{"x"}, Files: files}, unix.ENOENT},
		{&Command{Path: plain, Args: []string{"x"}, Files: files}, unix.EACCES},
		{&Command{Path: garbage, Args: []string{"x"}, Files: files}, unix.ENOEXEC},
		{&Command{Path: "/bin", Args: []string{"x"}, Files: files}, unix.EACCES},
		{&Command{Path: "/bin/\x00", Args: []string{"x"}, Files: files}, unix.EINVAL},
		{long, unix.E2BIG},
	} {
		err := fails(t, l, x.cmd)
		var e *Error
		if !errors.As(err, &e) || e.Errno != x.want || e.Op != "exec" || e.Object != x.cmd.Path {
			t.Errorf("%s: %v, want %v", x.cmd.Path, err, x.want)
		}
	}
	poll(t, l)
}

// TestSignalGroup signals a child's group. The signal reaches all processes in it, and does
// nothing once the child is reaped.
func TestSignalGroup(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r, w := pipe(t)
	defer unix.Close(r)
	cmd := shell(t, "trap '' TERM; (trap - TERM; echo ready; exec sleep 1000) & wait; exit 7")
	cmd.Files[1] = w
	var c Child
	var status unix.WaitStatus
	done := false
	if err := l.Spawn(&c, cmd, exitedFunc(func(s unix.WaitStatus) {
		status, done = s, true
		c.SignalGroup(unix.SIGKILL)
	})); err != nil {
		t.Fatal(err)
	}
	defer func() { c.SignalGroup(unix.SIGKILL) }() // a test that failed leaves nothing running
	closeFD(t, w)
	pid := c.PID()
	var out Descriptor
	spoke := false
	l.Attach(&out, r, readyFunc(func(Events) { spoke = true; out.Release() }))
	out.Want(Read)
	until(t, l, "the grandchild", func() bool { return spoke })
	if group, err := unix.Getpgid(pid); group != pid || err != nil || group == unix.Getpgrp() {
		t.Errorf("group %d of child %d, %v", group, pid, err)
	}
	c.SignalGroup(unix.SIGTERM)
	until(t, l, "the exit", func() bool { return done })
	if status.ExitStatus() != 7 {
		t.Errorf("status %#x: the grandchild did not die of the signal, or the child did", status)
	}
	c.SignalGroup(unix.SIGKILL) // without effect
	if (&Child{}).Running() {
		t.Error("a child that never was runs")
	}
}

// A child may have exited, and be a zombie, before epoll is told of its pidfd.
func TestChildExitsBeforeItIsWatched(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	var status unix.WaitStatus
	if err := l.Spawn(&c, shell(t, "exit 9"), exitedFunc(func(s unix.WaitStatus) { status = s })); err != nil {
		t.Fatal(err)
	}
	// Until it is a zombie, and without reaping it.
	for {
		err := unix.Waitid(unix.P_PID, c.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
	if status != 0 {
		t.Error("told before a turn")
	}
	poll(t, l)
	if status.ExitStatus() != 9 {
		t.Errorf("status %#x", status)
	}
}

// epoll could not watch the pidfd: it is asked again.
func TestChildThatCannotBeWatched(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	var status unix.WaitStatus
	if err := l.Spawn(&c, shell(t, "exit 9"), exitedFunc(func(s unix.WaitStatus) { status = s })); err != nil {
		t.Fatal(err)
	}
	// A file that epoll refuses in place of the pidfd, for a while.
	number := c.pidfd.FD()
	pidfd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := unwatchable(t)
	if err := unix.Dup3(file, number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	closeFD(t, file)
	poll(t, l)
	if len(l.dirty) != 1 {
		t.Fatal("epoll took it")
	}
	if err := unix.Dup3(pidfd, number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	closeFD(t, pidfd)
	until(t, l, "the exit", func() bool { return status != 0 })
	if status.ExitStatus() != 9 {
		t.Errorf("status %#x", status)
	}
}

// TestChildWhoseStatusIsLost has another wait reap the child. The pidfd stays readable, and the
// loop must not spin over it.
func TestChildWhoseStatusIsLost(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	var got []unix.WaitStatus
	if err := l.Spawn(&c, shell(t, "exit 9"), exitedFunc(func(s unix.WaitStatus) { got = append(got, s) })); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Wait4(c.PID(), nil, 0, nil); err != unix.EINTR {
			break
		}
	}
	until(t, l, "the exit", func() bool { return len(got) > 0 })
	if len(got) != 1 || got[0].ExitStatus() != 255 {
		t.Errorf("status %v", got)
	}
	quiet(t, l)
}

// The child has the three descriptors that it was given, and no other, however many are open here.
func TestChildDescriptors(t *testing.T) { ways(t, testChildDescriptors) }

func testChildDescriptors(t *testing.T, l *Loop) {
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	errR, errW := pipe(t)
	for _, fd := range []int{inR, outW, errW} { // a child's end is not non-blocking
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
	}
	cmd := shell(t, "echo to stderr >&2; exec cat")
	cmd.Files = [3]int{inR, outW, errW}
	var c Child
	done := false
	if err := l.Spawn(&c, cmd, exitedFunc(func(unix.WaitStatus) { done = true })); err != nil {
		t.Fatal(err)
	}
	for _, fd := range cmd.Files {
		closeFD(t, fd)
	}
	write(t, inW, "to stdin")
	var d Descriptor
	var got []byte
	l.Attach(&d, outR, readyFunc(func(Events) { got = append(got, drain(t, outR)...) }))
	d.Want(Read)
	until(t, l, "the echo", func() bool { return string(got) == "to stdin" })
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"0", "1", "2"}) {
		t.Errorf("the child has %v", names)
	}
	closeFD(t, inW)
	until(t, l, "the exit", func() bool { return done })
	if got := string(drain(t, errR)); got != "to stderr\n" {
		t.Errorf("stderr %q", got)
	}
	closeFD(t, errR)
}

// A child's handler may spawn the next with the same Child.
func TestChildSpawnedAgainInExited(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	cmd := shell(t, "exit 0")
	var c Child
	n := 0
	var again exitedFunc
	again = func(unix.WaitStatus) {
		if n++; n < 20 {
			if err := l.Spawn(&c, cmd, again); err != nil {
				t.Error(err)
			}
		}
	}
	again(0)
	until(t, l, "20 children", func() bool { return n == 20 && !c.Running() })
	if len(l.slots) > 3 {
		t.Errorf("%d slots", len(l.slots))
	}
}

func TestChildren(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var cs [3]Child
	exits := 0
	for i := range cs {
		if err := l.Spawn(&cs[i], shell(t, "exec sleep 1000"), exitedFunc(func(s unix.WaitStatus) {
			if exits++; s.Signal() != unix.SIGKILL {
				t.Errorf("status %#x", s)
			}
		})); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for c := range l.Children {
		n++
		c.SignalGroup(unix.SIGKILL)
	}
	for range l.Children {
		break
	}
	until(t, l, "the exits", func() bool { return exits == 3 })
	if n != 3 {
		t.Errorf("%d children", n)
	}
	poll(t, l)
}
