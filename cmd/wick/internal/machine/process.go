package machine

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
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
func start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = outputDelay
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
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

// kill kills the process and waits for it. Killing an ended process is no error.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}
