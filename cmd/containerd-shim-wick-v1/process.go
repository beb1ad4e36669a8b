package main

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wick/framing"
	"wick/framing/client"
)

// process is a container's first process or one of exec.
type process struct {
	c        *container
	exec     string // its id, "" for the first
	spec     *specs.Process
	terminal bool
	stdio    stdio

	mu sync.Mutex
	// mu guards the fields from here on.
	state    task.Status // created, running or stopped
	tried    bool        // it was started, perhaps in vain
	starting bool
	doomed   bool        // abandoned while it was being started
	cmd      *client.Cmd // set when it runs
	size     client.Size // of the terminal
	pid      uint32
	code     uint32
	exited   *timestamppb.Timestamp
	oom      bool
	done     chan struct{} // closed when it is stopped
}

func newProcess(c *container, exec string, spec *specs.Process, terminal bool) *process {
	p := &process{
		c: c, exec: exec, spec: spec, terminal: terminal,
		state: task.Status_CREATED, done: make(chan struct{}), size: client.Size{Rows: 24, Cols: 80},
	}
	if size := spec.ConsoleSize; size != nil && size.Height > 0 && size.Width > 0 {
		p.size = client.Size{Rows: uint16(size.Height), Cols: uint16(size.Width)}
	}
	return p
}

// start starts the process in the machine. ctx limits the start.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	if p.state != task.Status_CREATED || p.tried {
		p.mu.Unlock()
		return status.Error(codes.FailedPrecondition, "the process was started already")
	}
	p.tried, p.starting = true, true
	size := p.size
	p.mu.Unlock()
	cmd, err := p.c.command(p)
	if err == nil {
		// Not before: the client closes a stdin that ends early only once its request to add the
		// process is through.
		err = p.stdio.open(ctx, p.c.s.options.namespace, p.c.id, p.terminal)
	}
	if err == nil {
		p.c.addHome(ctx, cmd, p.spec.User.UID)
		p.connect(cmd, size)
		err = p.launch(ctx, cmd)
	}
	if err != nil {
		p.stdio.close()
		p.stdio.killLogger()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting = false
	if err != nil {
		if p.doomed {
			go p.abandon(killedCode)
		}
		return err
	}
	p.cmd, p.pid, p.state = cmd, cmd.PID(), task.Status_RUNNING
	if p.exec == "" {
		p.pid = p.c.pid()
	}
	if p.size != size { // it was resized meanwhile
		cmd.Resize(p.size.Rows, p.size.Cols)
	}
	return nil
}

// connect joins the streams to the command.
func (p *process) connect(cmd *client.Cmd, size client.Size) {
	if p.terminal {
		cmd.Terminal = &size
	}
	if p.stdio.in != nil {
		cmd.Stdin = p.stdio.in
	}
	// A nil interface means that the output is dropped.
	if p.stdio.out != nil {
		cmd.Stdout = p.stdio.out
	}
	if p.stdio.err != nil && !p.terminal {
		cmd.Stderr = p.stdio.err
	}
	cmd.WaitOutput = outputWait
}

// outputWait is how long output is awaited after a process's end, while others hold it.
const outputWait = 200 * time.Millisecond

// launch starts cmd. The process outlives ctx.
func (p *process) launch(ctx context.Context, cmd *client.Cmd) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	err := cmd.Start(life)
	if !stop() || err != nil {
		end()
	}
	if failed, ok := errors.AsType[*client.StartError](err); ok {
		return status.Error(codes.InvalidArgument, failed.Error())
	}
	if err != nil {
		return status.Error(codes.Unknown, err.Error())
	}
	return nil
}

const (
	// readerLimit is how long a process's output may wait for a reader after its end.
	readerLimit = 10 * time.Second
	// receiptPoll is how often it is looked at whether a process has ended.
	receiptPoll = 250 * time.Millisecond
)

// wait waits for the end of a process that runs, and returns its exit code.
func (p *process) wait() (code uint32, oom bool) {
	over := make(chan struct{})
	go func() {
		// A FIFO without a reader must not hold up the exit for ever.
		tick := time.NewTicker(receiptPoll)
		defer tick.Stop()
		var ended time.Time
		for {
			select {
			case <-over:
				return
			case now := <-tick.C:
				if ended.IsZero() && p.cmd.Receipt() != nil {
					ended = now
				}
				if !ended.IsZero() && now.Sub(ended) > readerLimit {
					p.stdio.close()
					return
				}
			}
		}
	}()
	receipt, err := p.cmd.Wait(context.Background())
	close(over)
	if receipt == nil {
		p.c.s.log.Error("lost a process", "id", p.c.id, "exec", p.exec, "error", err)
		return killedCode, false
	}
	return uint32(receipt.Code), receipt.Reason == framing.ReasonOutOfMemory || receipt.Killed > 0
}

// finish records the end. It reports whether it is the first to do so.
func (p *process) finish(code uint32, oom bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == task.Status_STOPPED {
		return false
	}
	p.state, p.code, p.oom, p.exited = task.Status_STOPPED, code, oom, timestamppb.Now()
	return true
}

// kill sends a signal. A process that is not started yet ends by it.
func (p *process) kill(ctx context.Context, sig syscall.Signal, all bool) error {
	if p.abandon(128 + uint32(sig)) {
		return nil
	}
	p.mu.Lock()
	cmd, state := p.cmd, p.state
	p.mu.Unlock()
	switch state {
	case task.Status_STOPPED:
		return status.Error(codes.NotFound, "process already finished")
	case task.Status_CREATED:
		return status.Error(codes.Unavailable, "the process is being started")
	}
	vm := p.c.s.client()
	if vm == nil {
		return status.Error(codes.NotFound, "the machine has ended")
	}
	scope := framing.ScopeProcess
	if all {
		scope = framing.ScopeTree
	}
	err := vm.SignalID(ctx, cmd.ID(), sig, scope)
	if failed, ok := errors.AsType[*client.OpError](err); ok && failed.Errno == syscall.ESRCH {
		return status.Error(codes.NotFound, "process already finished")
	}
	if _, lost := errors.AsType[*client.ConnError](err); lost && sig == syscall.SIGKILL {
		// The process has ended with its machine, or is about to.
		select {
		case <-p.done:
			return nil
		case <-time.After(execsLimit):
		}
	}
	if err != nil {
		return status.Error(codes.Unknown, err.Error())
	}
	return nil
}

// resize sets the size of the terminal.
func (p *process) resize(rows, cols uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = client.Size{Rows: rows, Cols: cols}
	if p.cmd != nil && p.terminal {
		p.cmd.Resize(rows, cols)
	}
}

// snapshot returns what State reports.
func (p *process) snapshot() (state task.Status, pid, code uint32, exited *timestamppb.Timestamp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid = p.pid
	if p.exec == "" {
		pid = p.c.pid()
	}
	return p.state, pid, p.code, p.exited
}
