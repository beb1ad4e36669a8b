//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/oci"
	"wick/framing"
	"wick/framing/client"
)

// supervisor runs a machine that stays. Its methods may be called from any goroutine.
type supervisor struct {
	r       *runner
	m       *keeper.Machine
	journal *keeper.Journal
	server  *keeper.Server
	status  *os.File // to the parent; nil once it was told that the command runs

	viewers keeper.Viewers
	outputs []*outputs    // of the command that runs; for use alone
	stopped chan struct{} // closed when the machine is to stop
	over    chan struct{} // closed when the state is the last
	mu      sync.Mutex
	// mu guards these:
	state    *keeper.State
	vm       *machine.Machine // nil while it is down
	killed   bool
	stopping bool
	signal   syscall.Signal // that asks the command to end
	grace    time.Duration  // for that
	command  *client.Cmd    // that runs, or nil
	stdin    *client.Stdin  // of it, or nil
	guest    *client.Client // the connection, or nil before there is one

	// saving is held while the machine is saved, and connected to again.
	saving sync.Mutex
}

// supervise runs the machine that the parent made or holds.
func (r *runner) supervise(ctx context.Context) error {
	syscall.CloseOnExec(lockFD)
	syscall.CloseOnExec(statusFD)
	store, err := keeper.Default()
	if err != nil {
		return err
	}
	m := store.Inherit(os.Getenv(superviseEnv), os.NewFile(lockFD, "lock"))
	os.Unsetenv(superviseEnv) // the monitor is no supervisor
	state, err := m.State()
	if err != nil {
		return err
	}
	s := newSupervisor(r, m, state)
	s.status = os.NewFile(statusFD, "status")
	r.image.pull = string(oci.Missing) // the parent has pulled it
	err = s.run(ctx)
	s.end(err)
	s.removed()
	if err != nil {
		return &exit.Error{Code: exit.How(err, r.t.parsed).Code} // the state and the parent have the error
	}
	return nil
}

func newSupervisor(r *runner, m *keeper.Machine, state *keeper.State) *supervisor {
	s := &supervisor{
		r: r, m: m, state: state, stopped: make(chan struct{}), over: make(chan struct{}),
		grace: time.Duration(state.StopSeconds) * time.Second,
	}
	s.signal, _ = parseSignal(state.StopSignal)
	r.t.unwind.Store(int64(powerOffLimit + s.grace + r.outLimit()))
	return s
}

// run runs the machine to its end.
func (s *supervisor) run(ctx context.Context) (err error) {
	r := s.r
	s.update(func(st *keeper.State) {
		st.Status, st.PID = keeper.Starting, os.Getpid()
		st.Started, st.Ended, st.ExitCode, st.Error = time.Time{}, time.Time{}, 0, ""
	})
	if s.journal, err = s.m.OpenJournal(); err != nil {
		return err
	}
	defer s.journal.Close()
	if s.server, err = s.m.Serve(s.do, s.attach); err != nil {
		return err
	}
	defer r.close()
	if err := r.prepare(ctx, &runUI{w: io.Discard}); err != nil {
		return err
	}
	s.update(func(st *keeper.State) { st.Published = r.publishedPorts() })
	if err := s.disk(ctx); err != nil {
		return err
	}
	r.use = s.use
	r.options.Started = s.started
	console, err := os.OpenFile(s.m.Path("console.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the console's log: %w", err)
	}
	defer console.Close()
	r.options.ConsoleLog = console
	return r.boot(ctx, s, func() {})
}

// disk has the machine write to a disk of its own, which stays until wick rm.
func (s *supervisor) disk(ctx context.Context) error {
	o := &s.r.options
	if o.Tmpfs || o.Overlay != "" || o.From != "" {
		return nil
	}
	path := s.m.DiskPath()
	if _, err := os.Stat(path); err != nil {
		mib := o.OverlayMiB
		if mib == 0 {
			mib = image.DefaultOverlay
		}
		if err := image.Overlay(ctx, path, mib); err != nil {
			return err
		}
	}
	o.Overlay, o.OverlayMiB = path, 0
	return nil
}

// started is called when the monitor runs.
func (s *supervisor) started(vm *machine.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vm = vm
	if s.killed {
		go vm.Kill()
	}
	s.state.Address = strings.Replace(vm.Addr(), "firecracker-listen:", "firecracker:", 1)
	s.state.Backend = vm.Backend()
	s.m.Save(s.state)
}

// Event implements [machine.UI].
func (s *supervisor) Event(e machine.Event) {
	switch e.Stage {
	case machine.Killed, machine.Notice, machine.Noted:
		fmt.Fprintf(s.r.t.stderr, "wick: %s\n", e.Detail)
	}
	s.report(report{Event: &e})
}

// report tells the parent, if it still wants to know.
func (s *supervisor) report(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == nil {
		return
	}
	text, _ := json.Marshal(r)
	s.status.Write(append(text, '\n')) // the parent may be gone
	if r.Ready {
		s.status.Close()
		s.status = nil
	}
}

// update changes the state and saves it.
func (s *supervisor) update(change func(*keeper.State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.state)
	if err := s.m.Save(s.state); err != nil {
		fmt.Fprintf(s.r.t.stderr, "wick: %v\n", err)
	}
}

// end records how the machine ended.
func (s *supervisor) end(err error) {
	s.update(func(st *keeper.State) {
		st.Status, st.Ended, st.PID, st.Address = keeper.Stopped, time.Now(), 0, ""
		if s.killed {
			st.ExitCode = 128 + int(syscall.SIGKILL)
			return
		}
		if err != nil {
			how := exit.How(err, s.r.t.parsed)
			if st.ExitCode = how.Code; how.Err != nil {
				st.Error = err.Error()
			}
		}
	})
	if err != nil {
		how := exit.How(err, s.r.t.parsed)
		s.report(report{Error: err.Error(), Code: how.Code})
	}
	close(s.over)
	if s.server != nil {
		s.server.Close(s.state)
	}
}

// awaitEnd waits for the end of the machine, or of the interest in it.
func (s *supervisor) awaitEnd(ctx context.Context) error {
	select {
	case <-s.over:
	case <-ctx.Done():
	}
	return nil
}

// removed removes a machine that is not to stay. The parent removes one that never ran.
func (s *supervisor) removed() {
	if s.state.Remove && s.status == nil {
		s.m.Remove()
	}
}

// use runs the command until it has ended for good, or the machine is to stop.
func (s *supervisor) use(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) error {
	s.setGuest(c)
	s.update(func(st *keeper.State) { st.Started = time.Now() })
	stop := context.AfterFunc(ctx, func() { s.stop(0, -1) }) // a signal to this process
	defer stop()
	delay := leastDelay
	for starts := 1; ; starts++ {
		began := time.Now()
		code, err := s.once(context.WithoutCancel(ctx), s.current(), flags, args)
		if len(args) == 0 && (err == nil || starts > 1) && s.startsAgain(ctx, s.current()) {
			continue // the guest keeps the pauses
		}
		if err != nil || s.isStopping() || !s.r.stay.policy.again(code, starts) {
			if err == nil {
				err = exit.OfCommand(code)
			}
			return err
		}
		if time.Since(began) > mostDelay {
			delay, starts = leastDelay, 1 // it ran well for a while
		}
		select {
		case <-time.After(delay):
		case <-s.stopped:
			return exit.OfCommand(code)
		case <-s.current().Done():
			return s.current().Err()
		}
		delay = min(2*delay, mostDelay)
	}
}

// The least and the most time before a command is started again. It doubles each time.
const (
	leastDelay = 100 * time.Millisecond
	mostDelay  = 10 * time.Second
)

func (s *supervisor) isStopping() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// once runs the command once, and returns its exit code.
func (s *supervisor) once(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) (code int, err error) {
	cmd, err := s.start(ctx, c, flags, args)
	if err != nil {
		return 0, err
	}
	s.ready()
	if cmd == nil {
		return 0, s.idle(ctx) // a machine without a command of its own
	}
	s.setCommand(cmd)
	defer s.setCommand(nil)
	defer func() { s.ended(code, err) }()
	ended := make(chan struct{})
	defer close(ended)
	go s.endWithGrace(ctx, cmd, ended)
	r, err := s.wait(ctx, cmd)
	if r == nil {
		return 0, err
	}
	if failed := notStarted(ctx, c); failed != nil && len(args) == 0 {
		return 0, failed
	}
	if r.Reason == framing.ReasonOutOfMemory {
		s.update(func(st *keeper.State) { st.Error = "the command was killed because the machine was out of memory" })
	}
	return failureOf(r.Code), nil
}

// failureOf returns a code between 0 and 255 for one of the guest.
func failureOf(code int) int {
	if code == 0 {
		return 0
	}
	return exit.Failure(code)
}

// start starts the command, or has part in the workload that the machine runs by itself. It returns
// nil for a machine without either.
func (s *supervisor) start(ctx context.Context, c *client.Client, flags *sessionFlags, args []string) (*client.Cmd, error) {
	hello, err := c.Hello(ctx)
	if err != nil {
		return nil, err
	}
	connect := func(cmd *client.Cmd) { cmd.Stdout, cmd.Stderr = s.output(false), s.output(true) }
	if len(args) == 0 && s.r.saved != nil {
		return s.takeOver(ctx, c, connect)
	}
	if len(args) == 0 {
		if _, ok := hello.Fact("workload.state"); !ok {
			return nil, nil
		}
		if hello.Features&framing.FeatureServices != 0 {
			waiting, cancel := s.untilStopped(ctx)
			err := awaitStart(waiting, c, s.ready)
			if cancel(); s.isStopping() {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
		}
		return s.join(ctx, c, hello, connect)
	}
	cmd, err := flags.command(c, args)
	if err != nil {
		return nil, err
	}
	connect(cmd)
	cmd.Keep, cmd.Loose = client.KeepForEver, hello.Features&framing.FeatureLook != 0
	if flags.tty {
		cmd.Terminal = &defaultSize
	}
	var stdin *client.Stdin
	if flags.stdin {
		if stdin, err = cmd.StdinPipe(); err != nil { // open for an attach
			return nil, err
		}
	}
	if err := cmd.Start(ctx); err != nil {
		return nil, startFailed(cmd, err)
	}
	s.mu.Lock()
	s.stdin = stdin
	s.mu.Unlock()
	return cmd, nil
}

// join has part in the workload that the machine runs by itself, once it is ready.
func (s *supervisor) join(ctx context.Context, c *client.Client, hello *client.Hello, connect func(*client.Cmd)) (*client.Cmd, error) {
	cmd, err := c.Attach(ctx, framing.WorkloadID, client.AttachOptions{Prepare: connect})
	if errors.Is(err, syscall.ESRCH) {
		if failed := notStarted(ctx, c); failed != nil {
			err = failed
		}
	}
	if err != nil || hello.Features&framing.FeatureServices == 0 {
		return cmd, err
	}
	waiting, cancel := s.untilStopped(ctx)
	defer cancel()
	if err := awaitReady(waiting, c); err != nil && !s.isStopping() {
		return nil, err
	}
	return cmd, notStarted(ctx, c)
}

// ready records that the command runs, and tells the parent.
func (s *supervisor) ready() {
	s.update(func(st *keeper.State) {
		if st.Status == keeper.Starting {
			st.Status = keeper.Running
		}
	})
	s.report(report{Ready: true})
}

func (s *supervisor) setCommand(cmd *client.Cmd) {
	s.update(func(st *keeper.State) {
		s.command, st.Process = cmd, ""
		if cmd != nil {
			st.Process = fmt.Sprintf("%016x", cmd.ID())
		}
	})
}

// wait waits for the command's end. If another host has taken it, its output is logged on, and its
// end is had after that host.
func (s *supervisor) wait(ctx context.Context, cmd *client.Cmd) (*client.Receipt, error) {
	r, err := s.waitOn(ctx, cmd)
	if _, taken := errors.AsType[*client.RemoteError](err); r != nil || !taken {
		return r, receiptError(r, err)
	}
	notes := s.output(true)
	c := s.current()
	missed, err := c.Look(ctx, cmd.ID(), client.LookOptions{Follow: true, Stdout: s.output(false), Stderr: s.output(true)})
	if missed > 0 {
		fmt.Fprintf(notes, "wick: another host had the command; %d bytes of its output are missing here\n", missed)
	}
	if err == nil {
		var last *client.Cmd // its output is logged already
		if last, err = c.Attach(ctx, cmd.ID(), client.AttachOptions{}); err == nil {
			r, err = last.Wait(ctx)
		}
	}
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ECANCELED) {
		err = exit.NotRun(errors.New("another host has taken the command's end"))
	}
	return r, receiptError(r, err)
}

// receiptError returns the error of a command whose end is not known.
func receiptError(r *client.Receipt, err error) error {
	if r != nil {
		return nil
	}
	return err
}
