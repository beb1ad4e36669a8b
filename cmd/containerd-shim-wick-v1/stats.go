package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"

	"wick/framing/client"
)

// metricsType is the type that containerd and the kubelet read: a container's figures of cgroup v2.
const metricsType = "io.containerd.cgroups.v2.Metrics"

// The fields of that message and of its parts.
const (
	fieldPids, fieldCPU, fieldMemory, fieldIO = 1, 2, 4, 6
	pidsCurrent, pidsLimit                    = 1, 2
	cpuUsage                                  = 1
	memoryUsage, memoryLimit                  = 32, 33
)

// Stats reports a container's processor time, memory and processes.
func (s *service) Stats(ctx context.Context, r *api.StatsRequest) (*api.StatsResponse, error) {
	c, _, err := s.find(r.ID, "")
	if err != nil {
		return nil, err
	}
	var cpu, memory, count uint64
	list, err := c.running(ctx)
	if err != nil {
		return nil, wire(err)
	}
	for _, p := range list {
		cpu += uint64(p.CPU.Microseconds())
		memory += p.Memory
		count += uint64(max(p.Processes, 1))
	}
	limit := uint64(0)
	if size, err := sizeOf(c.spec); err == nil {
		limit = uint64(size.memoryMiB) << 20
	}
	pids := [2]uint64{pidsLimit}
	if r := c.resources(); r != nil {
		if r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0 {
			limit = uint64(*r.Memory.Limit)
		}
		if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0 {
			pids[1] = uint64(*r.Pids.Limit)
		}
	}
	details := c.memoryDetails(ctx)
	var b []byte
	b = appendPart(b, fieldPids, [2]uint64{pidsCurrent, count}, pids)
	b = appendPart(b, fieldCPU, [2]uint64{cpuUsage, cpu})
	b = appendPart(b, fieldMemory, append(details, [2]uint64{memoryUsage, memory}, [2]uint64{memoryLimit, limit})...)
	b = appendPart(b, fieldIO) // nerdctl needs it
	return &api.StatsResponse{Stats: &anypb.Any{TypeUrl: metricsType, Value: b}}, nil
}

// memoryNames has the names in memory.stat of the fields from 1 on.
var memoryNames = strings.Fields("anon file kernel_stack slab sock shmem file_mapped file_dirty " +
	"file_writeback anon_thp inactive_anon active_anon inactive_file active_file unevictable " +
	"slab_reclaimable slab_unreclaimable pgfault pgmajfault")

// memoryDetails returns the fields of memory of the first process's cgroup. The kubelet subtracts
// inactive_file from the usage.
func (c *container) memoryDetails(ctx context.Context) (fields [][2]uint64) {
	c.mu.Lock()
	dir, paused := c.cgroup, c.paused
	c.mu.Unlock()
	vm := c.s.client()
	if vm == nil || paused || dir == "" {
		return nil
	}
	text, err := vm.ReadFile(ctx, dir+"/memory.stat")
	if err != nil {
		return nil // the process has ended, or the machine does not count memory
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if i := slices.Index(memoryNames, name); i >= 0 && err == nil {
			fields = append(fields, [2]uint64{uint64(i + 1), n})
		}
	}
	return fields
}

// appendPart appends a message of numbers, each a field and its value.
func appendPart(b []byte, field protowire.Number, numbers ...[2]uint64) []byte {
	var part []byte
	for _, n := range numbers {
		part = protowire.AppendTag(part, protowire.Number(n[0]), protowire.VarintType)
		part = protowire.AppendVarint(part, n[1])
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, part)
}

// running returns the guest's figures of the processes that containerd started in the container.
func (c *container) running(ctx context.Context) (list []client.Process, err error) {
	c.mu.Lock()
	ids := map[uint64]bool{}
	for _, id := range c.processIDs() {
		ids[id] = true
	}
	paused := c.paused
	c.mu.Unlock()
	vm := c.s.client()
	if vm == nil || paused {
		return nil, nil
	}
	all, err := vm.Processes(ctx)
	for _, p := range all {
		if ids[p.ID] && !p.Exited {
			list = append(list, p)
		}
	}
	return list, err
}

// listLimit limits how long a guest may take to list its processes. containerd waits for the list
// when it starts.
const listLimit = 3 * time.Second

// Pids lists the processes of a container by their numbers in the guest. Without any it lists the
// process ID of the task. containerd, when it starts, removes a task that has no process.
func (s *service) Pids(ctx context.Context, r *api.PidsRequest) (*api.PidsResponse, error) {
	c, first, err := s.find(r.ID, "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	list, err := c.running(ctx)
	if err != nil {
		s.log.Warn("list the processes", "container", c.id, "error", err)
	}
	response := &api.PidsResponse{}
	if len(list) == 0 {
		response.Processes = []*task.ProcessInfo{{Pid: c.pid()}}
		return response, nil
	}
	seen := map[uint32]bool{}
	add := func(pid uint32) {
		if !seen[pid] {
			seen[pid] = true
			response.Processes = append(response.Processes, &task.ProcessInfo{Pid: pid})
		}
	}
	for _, p := range list {
		add(p.PID)
	}
	first.mu.Lock()
	cmd := first.cmd
	first.mu.Unlock()
	if cmd == nil {
		return response, nil
	}
	// The others are those in the pid namespace of the first.
	vm := s.client()
	const namespaces = "/ns/pid"
	space, err := vm.ReadLink(ctx, "/proc/"+strconv.Itoa(int(cmd.PID()))+namespaces)
	if err != nil {
		return response, nil // it has just ended
	}
	entries, err := vm.ReadDir(ctx, "/proc")
	if err != nil {
		return response, nil // those that are known are listed
	}
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		if s, err := vm.ReadLink(ctx, "/proc/"+e.Name()+namespaces); err == nil && s == space {
			add(uint32(pid))
		}
	}
	return response, nil
}
