package reactor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// These are the roles for the tests of signals. A claim is for a whole process, so each needs one
// of its own.

func init() {
	roles["echo signals"] = echoSignals
	roles["dirty start"] = dirtyStart
	roles["show child"] = showChild
	roles["count threads"] = countThreads
	roles["shielded"] = shielded
}

// allSignals are the signals that an init uses, and a real-time signal.
var allSignals = []unix.Signal{
	unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCHLD, unix.SIGPWR, 40, 64,
}

type signalFunc func(SignalSet)

func (f signalFunc) Signaled(set SignalSet) { f(set) }

// echoSignals claims all signals and says "ready". It then prints a line for each signal that
// comes, until its input ends. With ECHO_BUSY it makes garbage on other goroutines meanwhile.
func echoSignals() error {
	if err := ClaimSignals(allSignals...); err != nil {
		return err
	}
	if os.Getenv("ECHO_BUSY") != "" {
		for range 2 {
			go func() {
				for {
					garbage := make([][]byte, 10)
					for i := range garbage {
						garbage[i] = make([]byte, 1000)
					}
					runtime.Gosched()
				}
			}()
		}
	}
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	total := map[unix.Signal]int{}
	l.HandleSignals(signalFunc(func(set SignalSet) {
		var lines []byte
		for sig := range set.All {
			total[sig]++
			lines = strconv.AppendInt(lines, int64(sig), 10)
			lines = append(lines, '\n')
		}
		if _, err := os.Stdout.Write(lines); err != nil {
			l.Stop()
		}
	}))
	if err := unix.SetNonblock(0, true); err != nil {
		return err
	}
	var in Descriptor
	l.Attach(&in, 0, readyFunc(func(Events) {
		// Input keeps the loop busy.
		if n, err := recv(0, l.Scratch()); n == 0 && err == nil {
			l.Stop()
		}
	}))
	in.Want(Read)
	fmt.Println("ready")
	return l.Run()
}

// dirtyStart ignores and blocks every signal, and then executes the process that plays the next
// role.
func dirtyStart() error {
	runtime.LockOSThread()
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP, 32, 33:
			continue
		}
		act := sigaction{handler: sigIgnore}
		if err := rtSigaction(sig, &act, nil); err != nil {
			return fmt.Errorf("sigaction of signal %d: %w", sig, err)
		}
	}
	var set unix.Sigset_t
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &set, nil); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	os.Setenv(roleVariable, os.Getenv("DIRTY_NEXT"))
	return unix.Exec(exe, []string{exe}, os.Environ())
}

// showChild claims signals and prints a child's own signal state.
func showChild() error {
	if err := ClaimSignals(allSignals[:9]...); err != nil {
		return err
	}
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	for range 5 {
		var c Child
		var status unix.WaitStatus
		cmd := &Command{Path: "/bin/cat", Args: []string{"cat", "/proc/self/status"}, Files: [3]int{0, 1, 2}}
		if err := l.Spawn(&c, cmd, exitedFunc(func(s unix.WaitStatus) { status = s; l.Stop() })); err != nil {
			return err
		}
		if err := l.Run(); err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("the child has status %#x, want 0", status)
		}
	}
	return nil
}

// countThreads checks that claiming and receiving signals, and spawning, start neither threads nor
// goroutines.
func countThreads() error {
	threads := func() string {
		var b [4096]byte
		fd, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err.Error()
		}
		defer unix.Close(fd)
		n, _ := unix.Read(fd, b[:])
		_, after, _ := bytes.Cut(b[:n], []byte("Threads:"))
		line, _, _ := bytes.Cut(after, []byte("\n"))
		return strings.TrimSpace(string(line))
	}
	before, goroutines := threads(), runtime.NumGoroutine()
	if err := ClaimSignals(allSignals...); err != nil {
		return err
	}
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	var got SignalSet
	l.HandleSignals(signalFunc(func(set SignalSet) { got |= set }))
	for _, sig := range allSignals {
		if err := unix.Kill(os.Getpid(), sig); err != nil {
			return err
		}
		for !got.Has(sig) {
			if err := l.turn(); err != nil {
				return err
			}
		}
	}
	if after := threads(); after != before || runtime.NumGoroutine() != goroutines {
		return fmt.Errorf("%s threads and %d goroutines, want %s and %d as before",
			after, runtime.NumGoroutine(), before, goroutines)
	}
	if got := claimed.Open(); !got {
		return errors.New("closed")
	}
	return nil
}

var nowhere *int

// shielded gets every signal of a fault from itself, and then a real fault.
func shielded() error {
	for range 2 {
		if err := ShieldFaults(); err != nil {
			return err
		}
	}
	for _, sig := range faults {
		if err := unix.Kill(os.Getpid(), sig); err != nil {
			return err
		}
		if err := unix.Tgkill(os.Getpid(), unix.Gettid(), sig); err != nil {
			return err
		}
	}
	fmt.Println("alive")
	func() {
		defer func() { fmt.Println(recover()) }()
		*nowhere = 1
	}()
	return nil
}
