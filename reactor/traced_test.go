package reactor

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { roles["trace"] = trace }

// TestChildTraced has a debugger attached to a child that exits. The debugger is to wait for it
// first, however long that takes. The pidfd is readable meanwhile, but wait returns nothing.
func TestChildTraced(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	var got unix.WaitStatus
	exits := 0
	if err := l.Spawn(&c, shell(t, "exec sleep 1000"), exitedFunc(func(s unix.WaitStatus) { got = s; exits++ })); err != nil {
		t.Fatal(err)
	}
	tracer := role(t, "trace", "TRACED="+strconv.Itoa(c.PID()))
	tracer.Stderr = os.Stderr
	in, err := tracer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "traced\n" {
		c.Signal(unix.SIGKILL)
		in.Close()
		if err := tracer.Wait(); line == "refused\n" && err == nil {
			until(t, l, "the exit", func() bool { return exits > 0 })
			t.Skip("ptrace is not permitted: run as root, without a filter")
		}
		t.Fatalf("the tracer printed %q, %v", line, err)
	}
	c.Signal(unix.SIGKILL)
	until(t, l, "that it cannot be reaped", func() bool { return exits > 0 || c.retry.Running() })
	quiet(t, l)
	in.Close()
	if err := tracer.Wait(); err != nil {
		t.Error(err)
	}
	until(t, l, "the exit", func() bool { return exits > 0 })
	if !got.Signaled() || got.Signal() != unix.SIGKILL || exits != 1 || c.retry.Running() {
		t.Errorf("status %#x, %d exits; want SIGKILL and 1", got, exits)
	}
}

// trace attaches to a process until its input ends, and never waits for it.
func trace() error {
	pid, err := strconv.Atoi(os.Getenv("TRACED"))
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
		fmt.Println("refused")
		return nil
	}
	fmt.Println("traced")
	os.Stdin.Read(make([]byte, 1))
	return nil
}
