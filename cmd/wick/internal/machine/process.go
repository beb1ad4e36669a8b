package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputDelay limits the wait for the rest of a process's output after its end.
const outputDelay = 2 * time.Second

// process is a child that does not outlive us.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and all its output was read
}

// start starts the process. The kernel sends the signal of Pdeathsig when the thread that forked
// ends, not the process. So one goroutine keeps that thread from before the fork until the child
// has ended.
//
// The child is in a process group of its own. Otherwise a Ctrl-C in the terminal would kill it
// before the guest could go down.
//
// netns is the path of its network namespace, or "" for ours.
func start(cmd *exec.Cmd, netns string) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = outputDelay
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := within(netns, cmd.Start)
		if !errors.Is(err, errStuck) {
			defer runtime.UnlockOSThread() // otherwise the thread ends with the goroutine
		}
		if err != nil && cmd.Process != nil { // stuck
			cmd.Process.Kill()
			cmd.Wait()
		}
		started <- err
		if err != nil {
			return
		}
		cmd.Wait() // ProcessState has the result
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// errStuck reports a thread that stays in a network namespace.
var errStuck = errors.New("cannot leave the network namespace")

// within calls f while the calling thread, which is locked, is in a network namespace.
func within(netns string, f func() error) error {
	if netns == "" {
		return f()
	}
	fail := func(err error) error {
		return fmt.Errorf("enter the network namespace %s: %w", netns, err)
	}
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fail(err)
	}
	defer ours.Close()
	theirs, err := os.Open(netns)
	if err != nil {
		return fail(err)
	}
	defer theirs.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		return fail(err)
	}
	err = f()
	if back := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); back != nil {
		err = errors.Join(err, fmt.Errorf("%w %s: %w", errStuck, netns, back))
	}
	return err
}

// kill kills the process and waits for it. Killing an ended process is no error.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}
