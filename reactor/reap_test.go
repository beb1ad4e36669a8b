package reactor

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	roles["init"] = asInit
	roles["litter"] = litter
	roles["leave some"] = leaveSome
}

const (
	ownChildren = 100
	strays      = 4000
)

// TestReapOrphans runs process 1 of a namespace. It has a hundred children and gets four thousand
// orphans at once, most of them dead. All are reaped, and no child's status is lost. Each turn
// reaps a bounded number, and the handler of the signal runs once more when the last is gone.
func TestReapOrphans(t *testing.T) {
	t.Parallel()
	cmd := role(t, "init")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if os.IsPermission(err) {
		t.Skipf("%v: a pid namespace takes root, or CAP_SYS_ADMIN", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func asInit() error {
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("the pid is %d, want 1", pid)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := ClaimSignals(unix.SIGCHLD); err != nil {
		return err
	}
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	wakeups, childless := 0, false
	l.HandleSignals(signalFunc(func(SignalSet) { wakeups++; l.ReapOrphans(); childless = l.Childless() }))

	// The children wait until this pipe is closed. So does the process that has made the orphans.
	var gate [2]int
	if err := unix.Pipe2(gate[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	files := [3]int{gate[0], 1, 2}
	var children [ownChildren]Child
	var statuses [ownChildren]unix.WaitStatus
	exits := 0
	for i := range children {
		cmd := &Command{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf("read x; exit %d", i+1)}, Files: files}
		if err := l.Spawn(&children[i], cmd, exitedFunc(func(s unix.WaitStatus) { statuses[i] = s; exits++ })); err != nil {
			return err
		}
	}
	var made [2]int
	if err := unix.Pipe2(made[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	var maker Child
	makerExited := false
	err = l.Spawn(&maker, &Command{
		Path: "/proc/self/exe", Args: []string{"litter"}, Env: []string{roleVariable + "=litter"}, Files: [3]int{gate[0], made[1], 2},
	}, exitedFunc(func(unix.WaitStatus) { makerExited = true }))
	if err != nil {
		return err
	}
	unix.Close(made[1])
	var b [1]byte
	if n, err := unix.Read(made[0], b[:]); n != 1 {
		return fmt.Errorf("litter made no strays: %v", err)
	}
	unix.Close(gate[1]) // release them

	ticks, reaped, most := 0, 0, 0
	var tick Timer
	var ticking expiredFunc
	ticking = func(*Timer) { ticks++; l.Start(&tick, 0, ticking) }
	l.Start(&tick, 0, ticking)
	turns := 0
	for reaped < strays || exits < ownChildren || !makerExited {
		if err := l.turn(); err != nil {
			return err
		}
		turns++
		n := reapBatch - l.quota
		most = max(most, n)
		reaped += n
		if turns > 1e6 {
			return fmt.Errorf("reaped %d strays and %d children in %d turns", reaped, exits, turns)
		}
	}
	if most > reapBatch {
		return fmt.Errorf("reaped %d in a turn, want %d at most", most, reapBatch)
	}
	if ticks < turns-1 {
		return fmt.Errorf("%d ticks in %d turns: the loop was held up", ticks, turns)
	}
	for i, s := range statuses {
		if !s.Exited() || s.ExitStatus() != i+1 {
			return fmt.Errorf("child %d has status %#x, want exit code %d", i, s, i+1)
		}
	}
	for ; !childless; turns++ { // the last few, which are not this process's children
		if err := l.turn(); err != nil {
			return err
		}
		if turns > 1e6 {
			return fmt.Errorf("no call after the last was reaped; Childless() = %v", l.Childless())
		}
	}
	fmt.Printf("%d turns, %d wake-ups, at most %d reaped in a turn", turns, wakeups, most)
	return nil
}

// TestReapOrphansGoesOn holds that the dead that one turn leaves are reaped in the next turns,
// although nothing else wakes the loop.
func TestReapOrphansGoesOn(t *testing.T) {
	t.Parallel()
	play(t, role(t, "leave some"))
}

func leaveSome() error {
	if err := ClaimSignals(unix.SIGCHLD); err != nil {
		return err
	}
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	for range 3 * reapBatch {
		pid, err := stray()
		if err != nil {
			return err
		}
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			return fmt.Errorf("waitid: %w", err)
		}
	}
	takeSignals() // for the signals of their ends
	l.HandleSignals(signalFunc(func(SignalSet) { l.ReapOrphans() }))
	late := false
	var watch Timer
	l.Start(&watch, patience, expiredFunc(func(*Timer) { late = true }))
	l.ReapOrphans()
	for !l.Childless() {
		if err := l.turn(); err != nil {
			return err
		}
		if late {
			return fmt.Errorf("not within %v", patience)
		}
	}
	return nil
}

// stray starts a child that exits at once.
func stray() (pid int, err error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, fmt.Errorf("clone: %w", errno)
	}
	for n == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return int(n), nil
}

// litter starts children that exit at once, does not reap them, and says so. At the end of its
// input it leaves them to process 1.
func litter() error {
	for i := range strays {
		if _, err := stray(); err != nil {
			return fmt.Errorf("stray %d: %w", i, err)
		}
	}
	os.Stdout.Write([]byte{1})
	var b [1]byte
	unix.Read(0, b[:])
	return nil
}
