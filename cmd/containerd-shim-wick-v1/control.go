package main

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	eventtypes "github.com/containerd/containerd/api/events"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
)

// Pause pauses a container: its machine, or in a pod its processes.
func (s *service) Pause(ctx context.Context, r *api.PauseRequest) (*emptypb.Empty, error) {
	c, p, err := s.find(r.ID, "")
	if err != nil {
		return nil, err
	}
	if state, _, _, _ := p.snapshot(); state != task.Status_RUNNING {
		return nil, status.Error(codes.FailedPrecondition, "the container does not run")
	}
	if err := c.pause(ctx, true); err != nil {
		return nil, wire(err)
	}
	s.publish("/tasks/paused", &eventtypes.TaskPaused{ContainerID: c.id})
	return &emptypb.Empty{}, nil
}

// Resume lets a paused container go on.
func (s *service) Resume(ctx context.Context, r *api.ResumeRequest) (*emptypb.Empty, error) {
	c, _, err := s.find(r.ID, "")
	if err == nil {
		err = c.pause(ctx, false)
	}
	if err != nil {
		return nil, wire(err)
	}
	s.publish("/tasks/resumed", &eventtypes.TaskResumed{ContainerID: c.id})
	return &emptypb.Empty{}, nil
}

// ResizePty sets the size of a terminal.
func (s *service) ResizePty(_ context.Context, r *api.ResizePtyRequest) (*emptypb.Empty, error) {
	_, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	p.resize(uint16(r.Height), uint16(r.Width))
	return &emptypb.Empty{}, nil
}

// CloseIO ends a process's stdin.
func (s *service) CloseIO(_ context.Context, r *api.CloseIORequest) (*emptypb.Empty, error) {
	_, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin {
		p.stdio.closeInput()
	}
	return &emptypb.Empty{}, nil
}

// Checkpoint is not supported.
func (s *service) Checkpoint(context.Context, *api.CheckpointTaskRequest) (*emptypb.Empty, error) {
	return nil, refused("checkpoint a container: not supported")
}

// Connect reports the shim's process and the task's.
func (s *service) Connect(_ context.Context, r *api.ConnectRequest) (*api.ConnectResponse, error) {
	response := &api.ConnectResponse{ShimPid: uint32(os.Getpid()), Version: moduleVersion()}
	if _, p, err := s.find(r.ID, ""); err == nil {
		_, response.TaskPid, _, _ = p.snapshot()
	}
	return response, nil
}

// Shutdown ends the shim if it has no container.
func (s *service) Shutdown(_ context.Context, r *api.ShutdownRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	busy := len(s.containers) > 0 && !r.Now
	s.mu.Unlock()
	if !busy {
		time.AfterFunc(shutdownDelay, s.stop)
	}
	return &emptypb.Empty{}, nil
}

// shutdownDelay lets the reply to Shutdown be written.
const shutdownDelay = 20 * time.Millisecond
