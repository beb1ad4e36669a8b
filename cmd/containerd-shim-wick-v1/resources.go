package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	api "github.com/containerd/containerd/api/runtime/task/v3"

	"wick/framing"
	"wick/framing/client"
)

// limit is a file of a cgroup and what is written to it.
type limit struct{ file, value string }

// limitsOf returns the limits of the container's cgroup in the guest.
func limitsOf(r *specs.LinuxResources) (list []limit) {
	add := func(file, value string) { list = append(list, limit{file, value}) }
	bytes := func(file string, n *int64) {
		switch {
		case n == nil || *n == 0:
		case *n < 0:
			add(file, "max")
		default:
			add(file, strconv.FormatInt(*n, 10))
		}
	}
	if r == nil {
		return nil
	}
	if m := r.Memory; m != nil {
		bytes("memory.max", m.Limit)
		bytes("memory.low", m.Reservation)
	}
	if r.Pids != nil {
		bytes("pids.max", r.Pids.Limit)
	}
	if c := r.CPU; c != nil {
		if c.Shares != nil && *c.Shares >= 2 {
			// From 2 to 262144 of cgroup v1 to 1 to 10000, as runc has it.
			add("cpu.weight", strconv.FormatUint(1+(min(*c.Shares, 1<<18)-2)*9999/(1<<18-2), 10))
		}
		period := ""
		if c.Period != nil && *c.Period > 0 {
			period = " " + strconv.FormatUint(*c.Period, 10)
		}
		switch {
		case c.Quota != nil && *c.Quota > 0:
			add("cpu.max", strconv.FormatInt(*c.Quota, 10)+period)
		case c.Quota != nil && *c.Quota < 0:
			add("cpu.max", "max"+period)
		}
	}
	for file, value := range r.Unified {
		// A machine has no swap and no huge pages.
		if !strings.HasPrefix(file, "memory.swap.") && !strings.HasPrefix(file, "hugetlb.") {
			add(file, value)
		}
	}
	return list
}

// resources returns the container's resources, which Update changes; nil without any.
func (c *container) resources() *specs.LinuxResources {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spec.Linux == nil {
		return nil
	}
	return c.spec.Linux.Resources
}

// limit adds the limits of the container's cgroup.
func (c *container) limit(conf *framing.Confinement) {
	// A cgroup with a limit of its own is not used again, and so Update can change it.
	conf.Limit("cgroup.max.depth", "max")
	for _, l := range limitsOf(c.resources()) {
		conf.Limit(l.file, l.value)
	}
}

// findCgroup finds the cgroup of the container's first process.
func (c *container) findCgroup(ctx context.Context, vm *client.Client, pid uint32) {
	b, err := vm.ReadFile(ctx, fmt.Sprintf("/proc/%d/cgroup", pid))
	if _, path, ok := strings.Cut(string(b), "0::"); err == nil && ok {
		path, _, _ = strings.Cut(path, "\n")
		c.mu.Lock()
		c.cgroup = "/sys/fs/cgroup" + path
		c.mu.Unlock()
	}
}

// changeable are the resources that Update changes. Those of ignored mean nothing in a machine,
// which has no swap.
var (
	changeable = []string{
		"memory.limit", "memory.reservation", "cpu.shares", "cpu.quota", "cpu.period", "pids.limit", "unified",
	}
	ignored = []string{
		"memory.swap", "memory.swappiness", "memory.useHierarchy", "memory.checkBeforeUpdate",
	}
)

// checkUpdate refuses a change of resources that a running machine cannot make. The size is the
// machine's.
func checkUpdate(was, r *specs.LinuxResources, machine size) error {
	before, after := flat(was), flat(r)
	for name, value := range after {
		if !slices.Contains(changeable, name) && !slices.Contains(ignored, name) && before[name] != value {
			return refused("update %s: not supported", name)
		}
	}
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit > int64(machine.memoryMiB)<<20 {
		return refused("update memory.limit to %d bytes: the machine has %d MiB", *m.Limit, machine.memoryMiB)
	}
	if c := r.CPU; c != nil && c.Quota != nil && c.Period != nil && *c.Period > 0 &&
		math.Ceil(float64(*c.Quota)/float64(*c.Period)) > float64(machine.cpus) {
		return refused("update cpu.quota to %d of %d: the machine has %d processors", *c.Quota, *c.Period, machine.cpus)
	}
	return nil
}

// flat returns the JSON of resources by their names, such as cpu.shares.
func flat(r *specs.LinuxResources) map[string]string {
	all := map[string]string{}
	var top map[string]json.RawMessage
	b, err := json.Marshal(r)
	if err != nil || json.Unmarshal(b, &top) != nil {
		return all
	}
	for name, value := range top {
		var inner map[string]json.RawMessage
		if name == "unified" || json.Unmarshal(value, &inner) != nil {
			all[name] = string(value)
			continue
		}
		for field, value := range inner {
			all[name+"."+field] = string(value)
		}
	}
	return all
}

// Update changes a container's limits.
func (s *service) Update(ctx context.Context, r *api.UpdateTaskRequest) (*emptypb.Empty, error) {
	c, first, err := s.find(r.ID, "")
	if err != nil {
		return nil, err
	}
	next := &specs.LinuxResources{}
	if err := json.Unmarshal(r.Resources.GetValue(), next); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "read the resources: %v", err)
	}
	s.mu.Lock()
	machine := s.size
	s.mu.Unlock()
	if err := checkUpdate(c.resources(), next, machine); err != nil {
		return nil, err
	}
	first.mu.Lock()
	runs := first.cmd != nil
	first.mu.Unlock()
	if vm := s.client(); vm != nil && runs {
		c.mu.Lock()
		dir := c.cgroup
		c.mu.Unlock()
		if dir == "" {
			return nil, refused("update the limits: the guest has no cgroups")
		}
		for _, l := range limitsOf(next) {
			if err := write(ctx, vm, dir+"/"+l.file, l.value); err != nil {
				return nil, wire(err)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spec.Linux == nil {
		c.spec.Linux = &specs.Linux{}
	}
	c.spec.Linux.Resources = merge(c.spec.Linux.Resources, next)
	return &emptypb.Empty{}, nil
}

// write writes a value to a file of a cgroup.
func write(ctx context.Context, vm *client.Client, path, value string) error {
	w, err := vm.Create(ctx, path, client.WriteOptions{InPlace: true})
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(value))
	return errors.Join(err, w.Close())
}

// merge returns was with what next sets.
func merge(was, next *specs.LinuxResources) *specs.LinuxResources {
	merged := &specs.LinuxResources{}
	for _, r := range []*specs.LinuxResources{was, next} {
		// A field that the JSON lacks stays.
		if b, err := json.Marshal(r); err == nil && r != nil {
			json.Unmarshal(b, merged)
		}
	}
	return merged
}
