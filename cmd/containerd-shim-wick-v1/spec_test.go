package main

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd/containerd/api/types"
)

func TestSizeOf(t *testing.T) {
	t.Parallel()
	resources := func(memory, quota int64) *specs.Linux {
		period := uint64(100000)
		return &specs.Linux{Resources: &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: &memory}, CPU: &specs.LinuxCPU{Quota: &quota, Period: &period},
		}}
	}
	for _, test := range []struct {
		spec specs.Spec
		want size
	}{
		{specs.Spec{}, size{256, 1, 4096}},
		{specs.Spec{Linux: resources(300<<20+1, 150000)}, size{365, 2, 4096}},
		{specs.Spec{Linux: resources(1<<20, -1)}, size{128, 1, 4096}},
		{specs.Spec{Linux: resources(-1, 0)}, size{256, 1, 4096}},
		{specs.Spec{Annotations: map[string]string{"wick.memory": "512Mi", "wick.cpus": "3", "wick.disk": "9"}}, size{512, 3, 9}},
		{specs.Spec{Linux: resources(2<<20, -1), Annotations: map[string]string{
			"io.kubernetes.cri.sandbox-memory": "1073741824", "io.kubernetes.cri.sandbox-cpu-quota": "250000",
			"io.kubernetes.cri.sandbox-cpu-period": "100000",
		}}, size{1088, 3, 4096}},
	} {
		if got, err := sizeOf(&test.spec); got != test.want || err != nil {
			t.Errorf("sizeOf(%+v) = %v, %v; want %v", test.spec, got, err, test.want)
		}
	}
	for _, bad := range []string{"", "0", "-1", "1.5", "1Gi"} {
		spec := &specs.Spec{Annotations: map[string]string{memoryAnnotation: bad}}
		if got, err := sizeOf(spec); err == nil {
			t.Errorf("sizeOf with the annotation %q = %v, want an error", bad, got)
		}
	}
}

func TestLayersOfARoot(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, test := range []struct {
		mount *types.Mount
		want  []string
	}{
		{&types.Mount{Type: "overlay", Options: []string{"index=off", "lowerdir=/b:/a", "upperdir=" + empty}}, []string{"/b", "/a"}},
		{&types.Mount{Type: "overlay", Options: []string{"lowerdir=/b", "upperdir=/"}}, []string{"/b", "/"}},
		{&types.Mount{Type: "overlay", Options: []string{`lowerdir=/b\:c:/a`}}, []string{}},
		{&types.Mount{Type: "bind", Source: "/a"}, []string{}},
	} {
		r := rootfs{mounts: []*types.Mount{test.mount}}
		if got := r.layers(); got == nil || !slices.Equal(got, test.want) {
			t.Errorf("layers of %v = %#v, want %#v", test.mount, got, test.want)
		}
	}
}
