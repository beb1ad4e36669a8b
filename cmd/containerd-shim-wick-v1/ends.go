package main

import (
	"context"
	"maps"
	"slices"
	"syscall"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/types/known/timestamppb"

	"wick/cmd/wick/machine"
)

// killedCode is the exit code of a process that ended with its machine.
const killedCode = 128 + uint32(syscall.SIGKILL)

// execsLimit limits how long the exit of a container waits for those of its other processes, which
// the kernel has killed.
const execsLimit = 2 * time.Second

// ended records and reports the end of a process that ran.
func (s *service) ended(p *process, code uint32, oom bool) {
	c := p.c
	if p.exec == "" {
		limit, cancel := context.WithTimeout(context.Background(), execsLimit)
		defer cancel()
		c.mu.Lock()
		execs := values(c.execs)
		c.mu.Unlock()
		for _, e := range execs {
			if state, _, _, _ := e.snapshot(); state != task.Status_RUNNING {
				continue
			}
			select {
			case <-e.done:
			case <-limit.Done():
			}
		}
	}
	if p.finish(code, oom) {
		s.report(p)
	}
}

// report publishes the end of a process.
func (s *service) report(p *process) {
	p.stdio.close()
	if p.oom {
		s.publish("/tasks/oom", &eventtypes.TaskOOM{ContainerID: p.c.id})
	}
	_, pid, code, at := p.snapshot()
	id := p.exec
	if id == "" {
		id = p.c.id
	}
	s.publish("/tasks/exit", &eventtypes.TaskExit{
		ContainerID: p.c.id, ID: id, Pid: pid, ExitStatus: code, ExitedAt: at,
	})
	close(p.done)
}

// abandon ends a process that was not started. It reports whether it did. One that is being started
// ends by it only if the start fails.
func (p *process) abandon(code uint32) bool {
	p.mu.Lock()
	if p.state != task.Status_CREATED || p.starting {
		p.doomed = p.starting
		p.mu.Unlock()
		return false
	}
	p.state, p.code, p.exited = task.Status_STOPPED, code, timestamppb.Now()
	p.mu.Unlock()
	p.c.s.report(p)
	return true
}

// watch ends the containers that were not started when their machine ends. Those that run end with
// the connection.
func (s *service) watch(m *machine.Machine) {
	<-m.Done()
	s.mu.Lock()
	s.gone = true
	var created []*container
	for _, c := range s.containers {
		if c.created {
			created = append(created, c)
		}
	}
	s.mu.Unlock()
	for _, c := range created {
		c.init.abandon(killedCode)
	}
}

// killLimit is how long a guest may take to kill a process before its machine is killed.
const killLimit = 10 * time.Second

// insist kills the machine if a killed process does not end. The machine of a pod is killed for the
// sandbox, and for another container only if the guest does not answer.
func (s *service) insist(p *process) {
	m := s.vm()
	if m == nil || p.exec != "" {
		return
	}
	time.AfterFunc(killLimit, func() {
		select {
		case <-p.done:
			return
		default:
		}
		if !p.c.isSandbox() {
			limit, cancel := context.WithTimeout(context.Background(), listLimit)
			defer cancel()
			if _, err := m.Client().Processes(limit); err == nil {
				return
			}
		}
		s.log.Warn("kill the machine, because the guest does not kill a process", "container", p.c.id)
		m.Kill()
	})
}

// close kills the machine and removes everything. It is idempotent, and each call returns when that
// is done.
func (s *service) close() { s.once.Do(s.shutDown) }

func (s *service) shutDown() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.creating.Wait() // life has ended, so it does not take long
	s.mu.Lock()
	m, list := s.machine, slices.Collect(maps.Values(s.containers))
	s.machine, s.containers = nil, map[string]*container{}
	s.mu.Unlock()
	if m != nil {
		m.Kill()
	}
	limit := time.After(execsLimit)
	for _, c := range list {
		if state, _, _, _ := c.init.snapshot(); state == task.Status_RUNNING {
			select {
			case <-c.init.done: // its event is then queued
			case <-limit:
			}
		}
		if err := c.release(); err != nil {
			s.log.Error("shut down", "container", c.id, "error", err)
		}
	}
	if err := removeTree(s.dir); err != nil {
		s.log.Error("shut down", "error", err)
	}
}
