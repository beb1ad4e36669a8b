package reactor

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { roles["interrupted wait"] = interruptedWait }

// interruptedTimer is how long the timer of an interrupted wait runs.
const interruptedTimer = time.Second

// interruptedWait waits for a byte on stdin and for a timer, and prints which came first.
func interruptedWait() error {
	l, err := New(0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(0, true); err != nil {
		return err
	}
	first := func(what string) {
		fmt.Println(what)
		l.Stop()
	}
	var in Descriptor
	said := false
	l.Attach(&in, 0, readyFunc(func(Events) {
		in.Want(0)
		if !said {
			said = true
			first("ready")
		}
	}))
	in.Want(Read)
	var timer Timer
	l.Start(&timer, interruptedTimer, expiredFunc(func(*Timer) {
		if !said {
			said = true
			first("expired")
		}
	}))
	fmt.Println("up")
	return l.Run()
}

// TestReadyBeforeExpired stops a process while its loop waits. A descriptor becomes ready, then a
// timer becomes due, and then the process continues. The wait ends with EINTR, and the loop calls
// the handler of the descriptor before that of the timer.
func TestReadyBeforeExpired(t *testing.T) {
	t.Parallel()
	for {
		got, late := stopThenReady(t)
		if late {
			continue // the timer may have been due before the byte was there
		}
		if got != "ready" {
			t.Errorf("first came %q, want ready", got)
		}
		return
	}
}

// stopThenReady plays the role once. It returns which came first, and whether the process was
// stopped too late to tell.
func stopThenReady(t *testing.T) (first string, late bool) {
	t.Helper()
	cmd := role(t, "interrupted wait")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewReader(out)
	if up, err := lines.ReadString('\n'); up != "up\n" {
		t.Fatalf("the process says %q, %v", up, err)
	}
	wait := func(what string, is func(status string) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
			all := err == nil && len(threads) > 0
			for _, path := range threads {
				status, err := os.ReadFile(path)
				all = all && err == nil && is(string(status))
			}
			if all {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not in %v", what, patience)
			}
		}
	}
	wait("asleep", func(status string) bool { return strings.Contains(status, "\nState:\tS") })
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait("stopped", func(status string) bool { return strings.Contains(status, "\nState:\tT") })
	late = time.Since(began) >= interruptedTimer
	if _, err := in.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(interruptedTimer) // the timer was started before, so it is due now
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n"), late
}
