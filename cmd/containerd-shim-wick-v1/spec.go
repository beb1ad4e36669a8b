package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The annotations of a container, or of a pod's sandbox, that this runtime knows.
const (
	kernelAnnotation = "wick.kernel" // the path of a kernel; Debian's by default
	vmmAnnotation    = "wick.vmm"    // firecracker, qemu-vhost or qemu
	memoryAnnotation = "wick.memory" // the machine's memory, in MiB
	cpusAnnotation   = "wick.cpus"   // its processors
	diskAnnotation   = "wick.disk"   // MiB for what the container writes
	sandboxID        = "io.kubernetes.cri.sandbox-id"
	containerType    = "io.kubernetes.cri.container-type"
)

// readSpec reads the OCI spec of a bundle.
func readSpec(bundle string) (*specs.Spec, error) {
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read the spec: %w", err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(b, spec); err != nil {
		return nil, fmt.Errorf("read the spec: %w", err)
	}
	return spec, nil
}

// groupOf returns the id of the container whose shim a container uses: that of the pod's sandbox.
func groupOf(spec *specs.Spec, id string) string {
	if sandbox := spec.Annotations[sandboxID]; sandbox != "" {
		return sandbox
	}
	return id
}

// refused returns an error for a request that this runtime does not serve. Its code is not
// Unimplemented, after which containerd tries an older version of the Task service.
func refused(format string, args ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, args...)
}

// check refuses what a machine cannot do.
func check(spec *specs.Spec) error {
	if spec.Process == nil || len(spec.Process.Args) == 0 {
		return status.Error(codes.InvalidArgument, "the spec has no process")
	}
	for kind := range hooksOf(spec) {
		switch kind {
		case prestart, createRuntime, poststart, poststop:
		default:
			return refused("run hooks in the container's namespaces: not supported, because these are " +
				"in a machine")
		}
	}
	if spec.Linux == nil {
		return nil
	}
	for _, n := range spec.Linux.Namespaces {
		switch {
		case n.Type == specs.UserNamespace:
			return refused("make a user namespace: not supported; the machine isolates its root")
		case n.Type == specs.TimeNamespace:
			return refused("make a time namespace: not supported")
		case n.Type == specs.MountNamespace && n.Path != "", n.Type == specs.CgroupNamespace && n.Path != "":
			return refused("join the %s namespace %s: it is one of the host", n.Type, n.Path)
		}
	}
	for _, d := range spec.Linux.Devices {
		if !standardDevices[d.Path] {
			return refused("give the container the device %s: not supported", d.Path)
		}
	}
	if spec.Linux.IntelRdt != nil {
		return refused("set intelRdt: not supported")
	}
	return nil
}

// standardDevices are those that each container has.
var standardDevices = map[string]bool{
	"/dev/null": true, "/dev/zero": true, "/dev/full": true, "/dev/random": true, "/dev/urandom": true,
	"/dev/tty": true, "/dev/console": true, "/dev/ptmx": true,
}

// namespace returns the path of a namespace of the spec, and whether the spec has it.
func namespace(spec *specs.Spec, kind specs.LinuxNamespaceType) (path string, has bool) {
	if spec.Linux == nil {
		return "", false
	}
	for _, n := range spec.Linux.Namespaces {
		if n.Type == kind {
			return n.Path, true
		}
	}
	return "", false
}

// size is the size of a machine.
type size struct{ memoryMiB, cpus, diskMiB int }

const (
	// guestMiB is what a guest needs besides its container's memory limit.
	guestMiB = 64
	// smallestMiB and usualMiB are the least memory of a machine, and that without a limit.
	smallestMiB, usualMiB = 128, 256
	// usualDiskMiB is the size of the disk for what a container writes. It is sparse.
	usualDiskMiB = 4096
)

func (s *size) setMemory(limit int64) {
	s.memoryMiB = max(smallestMiB, int(min((limit-1)>>20+1, math.MaxInt32))+guestMiB)
}

func (s *size) setCPUs(quota, period float64) { s.cpus = int(min(math.Ceil(quota/period), 256)) }

// sizeOf returns the size of a container's machine, by its annotations or else its resources.
func sizeOf(spec *specs.Spec) (size, error) {
	s := size{usualMiB, 1, usualDiskMiB}
	if spec.Linux != nil && spec.Linux.Resources != nil {
		r := spec.Linux.Resources
		if m := r.Memory; m != nil && m.Limit != nil && *m.Limit > 0 {
			s.setMemory(*m.Limit)
		}
		if c := r.CPU; c != nil && c.Quota != nil && *c.Quota > 0 && c.Period != nil && *c.Period > 0 {
			s.setCPUs(float64(*c.Quota), float64(*c.Period))
		}
	}
	// containerd's CRI writes the sum of a pod's resources on its sandbox.
	pod := func(name string) float64 {
		n, _ := strconv.ParseFloat(spec.Annotations["io.kubernetes.cri.sandbox-"+name], 64)
		return n
	}
	if limit := pod("memory"); limit > 0 {
		s.setMemory(int64(limit))
	}
	if quota, period := pod("cpu-quota"), pod("cpu-period"); quota > 0 && period > 0 {
		s.setCPUs(quota, period)
	}
	for _, a := range []struct {
		name  string
		value *int
	}{{memoryAnnotation, &s.memoryMiB}, {cpusAnnotation, &s.cpus}, {diskAnnotation, &s.diskMiB}} {
		text, ok := spec.Annotations[a.name]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSuffix(text, "Mi"))
		if err != nil || n < 1 {
			return s, status.Errorf(codes.InvalidArgument, "annotation %s: %q is not a number above 0", a.name, text)
		}
		*a.value = n
	}
	return s, nil
}

// rootDir returns where the container's root file system is on the host.
func rootDir(spec *specs.Spec, bundle string) string {
	if spec.Root == nil || spec.Root.Path == "" {
		return filepath.Join(bundle, "rootfs")
	}
	if filepath.IsAbs(spec.Root.Path) {
		return spec.Root.Path
	}
	return filepath.Join(bundle, spec.Root.Path)
}
