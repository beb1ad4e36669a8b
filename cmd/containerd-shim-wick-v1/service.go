package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	eventtypes "github.com/containerd/containerd/api/events"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"

	"wick/cmd/wick/machine"
	"wick/framing/client"
)

// service is containerd's Task service, for the containers of one machine.
type service struct {
	options *options
	group   string // the id of the container whose machine this is
	dir     string
	events  *publisher
	log     *slog.Logger
	stop    func()

	life     context.Context // ends when the shim shuts down
	creating sync.WaitGroup
	once     sync.Once // of close

	mu sync.Mutex
	// mu guards the fields from here on.
	machine    *machine.Machine // nil before the first container
	size       size             // of the machine
	containers map[string]*container
	made       int  // how many containers were made
	gone       bool // the machine has ended
	closed     bool
}

func newService(
	life context.Context, o *options, dir string, events *publisher, log *slog.Logger, stop func(),
) *service {
	return &service{
		options: o, group: o.id, dir: dir, events: events, log: log, stop: stop, life: life,
		containers: map[string]*container{},
	}
}

// shareDir is the directory that the guest sees. It is a tmpfs, so that unmounting it removes
// everything that was mounted in it.
func (s *service) shareDir() string { return filepath.Join(s.dir, "share") }

func (s *service) vm() *machine.Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine
}

// client returns the connection to the guest, or nil without a machine.
func (s *service) client() *client.Client {
	if m := s.vm(); m != nil {
		return m.Client()
	}
	return nil
}

// monitor returns the process ID of the monitor, or that of the shim without one.
func (s *service) monitor() int {
	if m := s.vm(); m != nil {
		return m.PID()
	}
	return os.Getpid()
}

// sandbox returns the id in the guest of the process of the pod's sandbox, for another container of
// it, or 0.
func (s *service) sandbox(c *container) uint64 {
	s.mu.Lock()
	first := s.containers[s.group]
	s.mu.Unlock()
	if first == nil || first == c {
		return 0
	}
	first.init.mu.Lock()
	defer first.init.mu.Unlock()
	if first.init.cmd == nil {
		return 0
	}
	return first.init.cmd.ID()
}

// find returns a container and one of its processes. It does not find a container that is being
// created, because nothing can be done to it yet.
func (s *service) find(id, exec string) (*container, *process, error) {
	s.mu.Lock()
	c := s.containers[id]
	if c != nil && !c.created {
		c = nil
	}
	s.mu.Unlock()
	if c == nil {
		return nil, nil, status.Errorf(codes.NotFound, "container %s not found", id)
	}
	p := c.process(exec)
	if p == nil {
		return nil, nil, status.Errorf(codes.NotFound, "process %s of container %s not found", exec, id)
	}
	return c, p, nil
}

// Create boots the machine of a container, or prepares the container in its pod's.
func (s *service) Create(ctx context.Context, r *api.CreateTaskRequest) (*api.CreateTaskResponse, error) {
	if r.Checkpoint != "" {
		return nil, refused("restore a checkpoint: not supported")
	}
	spec, err := readSpec(r.Bundle)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(check(spec), checkMounts(spec)); err != nil {
		return nil, wire(err)
	}
	c := &container{s: s, id: r.ID, bundle: r.Bundle, spec: spec, execs: map[string]*process{}}
	c.fs = rootfs{mounts: r.Rootfs, dir: rootDir(spec, r.Bundle)}
	s.mu.Lock()
	if s.containers[r.ID] != nil || s.closed {
		s.mu.Unlock()
		return nil, status.Errorf(codes.AlreadyExists, "container %s exists", r.ID)
	}
	s.creating.Add(1)
	defer s.creating.Done()
	s.made++
	c.number = s.made
	p := newProcess(c, "", spec.Process, r.Terminal)
	p.stdio.names.in, p.stdio.names.out, p.stdio.names.err = r.Stdin, r.Stdout, r.Stderr
	c.init = p
	s.containers[r.ID] = c
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	if err := s.create(ctx, c); err != nil {
		s.log.Error("create", "container", r.ID, "error", err)
		c.release()
		s.mu.Lock()
		delete(s.containers, r.ID)
		s.mu.Unlock()
		return nil, wire(err)
	}
	s.mu.Lock()
	c.created = true
	gone := s.gone
	s.mu.Unlock()
	s.publish("/tasks/create", &eventtypes.TaskCreate{
		ContainerID: r.ID, Bundle: r.Bundle, Rootfs: r.Rootfs, Pid: c.pid(),
		IO: &eventtypes.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
	})
	if gone {
		p.abandon(killedCode)
	}
	debug.FreeOSMemory() // a boot needs more memory than anything after it
	return &api.CreateTaskResponse{Pid: c.pid()}, nil
}

// wire returns an error as containerd reads it: with its code, if it has one.
func wire(err error) error {
	coded, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	switch {
	case err == nil:
		return nil
	case ok:
		return coded.GRPCStatus().Err()
	}
	return status.Error(codes.Unknown, err.Error())
}

func (s *service) create(ctx context.Context, c *container) error {
	m := s.vm()
	if m == nil && c.needsShare() {
		if err := s.mountShare(); err != nil {
			return err
		}
	}
	if err := c.shareBinds(); err != nil {
		return err
	}
	if err := c.setUp(ctx); err != nil {
		return err
	}
	if m != nil {
		return c.join()
	}
	m, err := c.boot(ctx)
	if err != nil {
		if boot, ok := errors.AsType[*machine.BootError](err); ok {
			s.log.Error("boot", "console", boot.Console)
		}
		return err
	}
	s.mu.Lock()
	s.machine = m
	closed := s.closed
	s.mu.Unlock()
	if closed {
		m.Kill()
		return status.Error(codes.Unavailable, "the shim is shutting down")
	}
	go s.watch(m)
	return nil
}

func (s *service) mountShare() error {
	dir := s.shareDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if len(mountsBelow(dir)) > 0 {
		return nil
	}
	err := unix.Mount("wick", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700,size=1m")
	if err == nil {
		// A virtiofsd has a mount namespace of its own, and must get what is mounted here later.
		err = unix.Mount("", dir, "", unix.MS_SHARED, "")
	}
	return os.NewSyscallError("mount the share", err)
}

// Start starts a process.
func (s *service) Start(ctx context.Context, r *api.StartRequest) (*api.StartResponse, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.exec == "" {
		if vm := s.client(); vm != nil {
			c.prepare(ctx, vm)
		}
	}
	if err := p.start(ctx); err != nil {
		return nil, wire(err)
	}
	_, pid, _, _ := p.snapshot()
	if vm := s.client(); vm != nil && p.exec == "" {
		c.findCgroup(ctx, vm, p.cmd.PID())
	}
	if p.exec == "" {
		s.publish("/tasks/start", &eventtypes.TaskStart{ContainerID: c.id, Pid: pid})
	} else {
		s.publish("/tasks/exec-started", &eventtypes.TaskExecStarted{ContainerID: c.id, ExecID: p.exec, Pid: pid})
	}
	if c.holder != nil && p.exec == "" {
		err := c.runHooks(ctx, poststart, specs.StateRunning, c.holder.cmd.Process.Pid)
		if err != nil {
			s.log.Warn("start", "container", c.id, "error", err)
		}
	}
	go func() {
		code, oom := p.wait()
		s.ended(p, code, oom)
	}()
	return &api.StartResponse{Pid: pid}, nil
}

// Kill sends a signal.
func (s *service) Kill(ctx context.Context, r *api.KillRequest) (*emptypb.Empty, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	sig := syscall.Signal(r.Signal)
	if sig == syscall.SIGKILL {
		s.insist(p)
		// A machine that is paused kills nothing.
		if err := c.pause(ctx, false); err != nil {
			s.log.Warn("resume to kill", "error", err)
		}
	}
	if sig != syscall.SIGKILL && c.isPaused() {
		return nil, status.Error(codes.FailedPrecondition, "the container is paused")
	}
	return &emptypb.Empty{}, p.kill(ctx, sig, r.All)
}

// Exec adds a process to a container that runs.
func (s *service) Exec(_ context.Context, r *api.ExecProcessRequest) (*emptypb.Empty, error) {
	c, first, err := s.find(r.ID, "")
	if err != nil {
		return nil, err
	}
	if state, _, _, _ := first.snapshot(); state != task.Status_RUNNING {
		return nil, status.Error(codes.FailedPrecondition, "the container does not run")
	}
	if c.isPaused() {
		return nil, status.Error(codes.FailedPrecondition, "the container is paused")
	}
	spec := &specs.Process{}
	if err := json.Unmarshal(r.Spec.GetValue(), spec); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "read the process: %v", err)
	}
	if len(spec.Args) == 0 {
		return nil, status.Error(codes.InvalidArgument, "the process has no arguments")
	}
	p := newProcess(c, r.ExecID, spec, r.Terminal)
	p.stdio.names.in, p.stdio.names.out, p.stdio.names.err = r.Stdin, r.Stdout, r.Stderr
	c.mu.Lock()
	if c.execs[r.ExecID] != nil {
		c.mu.Unlock()
		return nil, status.Errorf(codes.AlreadyExists, "process %s exists", r.ExecID)
	}
	c.execs[r.ExecID] = p
	c.mu.Unlock()
	s.publish("/tasks/exec-added", &eventtypes.TaskExecAdded{ContainerID: c.id, ExecID: r.ExecID})
	return &emptypb.Empty{}, nil
}

// Delete removes a process that has ended, and with the first one its container.
func (s *service) Delete(ctx context.Context, r *api.DeleteRequest) (*api.DeleteResponse, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	state, pid, code, at := p.snapshot()
	if state == task.Status_RUNNING {
		return nil, status.Error(codes.FailedPrecondition, "the process runs")
	}
	p.stdio.close()
	p.stdio.endLogger()
	if p.exec != "" {
		c.mu.Lock()
		delete(c.execs, p.exec)
		c.mu.Unlock()
		return &api.DeleteResponse{Pid: pid, ExitStatus: code, ExitedAt: at}, nil
	}
	s.mu.Lock()
	delete(s.containers, c.id)
	m := s.machine
	last := len(s.containers) == 0 || c.id == s.group
	if last {
		s.machine = nil
	}
	s.mu.Unlock()
	if m != nil && last {
		if c.fs.device() != "" {
			m.Stop(ctx) // its file system is kept
		} else {
			m.Kill()
		}
	}
	if err := c.release(); err != nil {
		s.log.Error("delete", "container", c.id, "error", err)
	}
	s.publish("/tasks/delete", &eventtypes.TaskDelete{
		ContainerID: c.id, Pid: pid, ExitStatus: code, ExitedAt: at, ID: "",
	})
	return &api.DeleteResponse{Pid: pid, ExitStatus: code, ExitedAt: at}, nil
}

// State reports a process.
func (s *service) State(_ context.Context, r *api.StateRequest) (*api.StateResponse, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	state, pid, code, at := p.snapshot()
	if state == task.Status_RUNNING && p.exec == "" && c.isPaused() {
		state = task.Status_PAUSED
	}
	return &api.StateResponse{
		ID: c.id, ExecID: p.exec, Bundle: c.bundle, Pid: pid, Status: state, ExitStatus: code, ExitedAt: at,
		Stdin: p.stdio.names.in, Stdout: p.stdio.names.out, Stderr: p.stdio.names.err, Terminal: p.terminal,
	}, nil
}

// Wait waits for the end of a process.
func (s *service) Wait(ctx context.Context, r *api.WaitRequest) (*api.WaitResponse, error) {
	_, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	_, _, code, at := p.snapshot()
	return &api.WaitResponse{ExitStatus: code, ExitedAt: at}, nil
}

func (s *service) publish(topic string, event proto.Message) { s.events.publish(topic, event) }
