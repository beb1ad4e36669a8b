package main

import (
	"encoding/json"
	"slices"
	"strings"
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

func TestImagesOfARoot(t *testing.T) {
	t.Parallel()
	layer := func(name string, options ...string) *types.Mount {
		return &types.Mount{Type: "erofs", Source: name, Options: append([]string{"ro", "loop"}, options...)}
	}
	overlay := func(options ...string) *types.Mount {
		return &types.Mount{Type: "format/mkdir/overlay", Source: "overlay", Options: options}
	}
	empty := "upperdir=" + t.TempDir()
	many := []*types.Mount{}
	for range maxImages + 1 {
		many = append(many, layer("x"))
	}
	for name, test := range map[string]struct {
		mounts []*types.Mount
		want   []string
	}{
		"two layers":     {[]*types.Mount{layer("b"), layer("a"), overlay("workdir=/w", empty, "lowerdir={{ overlay 0 1 }}")}, []string{"a", "b"}},
		"one layer":      {[]*types.Mount{layer("a"), overlay(empty, "lowerdir={{ mount 0 }}")}, []string{"a"}},
		"a view":         {[]*types.Mount{layer("a")}, []string{"a"}},
		"written before": {[]*types.Mount{layer("a"), overlay("upperdir=/", "lowerdir={{ mount 0 }}")}, nil},
		"some of them":   {[]*types.Mount{layer("b"), layer("a"), overlay(empty, "lowerdir={{ mount 0 }}")}, nil},
		"more devices":   {[]*types.Mount{layer("a", "device=b")}, nil},
		"another kind":   {[]*types.Mount{{Type: "ext4", Source: "a"}, overlay(empty, "lowerdir={{ mount 0 }}")}, nil},
		"overlayfs":      {[]*types.Mount{{Type: "overlay", Options: []string{"lowerdir=/a:/b"}}}, nil},
		"a directory":    {nil, nil},
		"too many":       {append(many, overlay(empty, "lowerdir={{ overlay 0 12 }}")), nil},
	} {
		r := rootfs{mounts: test.mounts}
		if got := r.images(); !slices.Equal(got, test.want) {
			t.Errorf("%s: images %q, want %q", name, got, test.want)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	read := func(text string) *specs.LinuxResources {
		r := &specs.LinuxResources{}
		if err := json.Unmarshal([]byte(text), r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	was := read(`{"memory": {"limit": 1048576, "swap": 5}, "cpu": {"cpus": "0-3", "shares": 512}, "devices": [{"allow": false}]}`)
	for _, test := range []struct{ next, limits, refused string }{
		{`{"memory": {"limit": 2097152}}`, "memory.max=2097152", ""},
		{`{"memory": {"limit": -1, "reservation": 4096, "swap": 7}}`, "memory.max=max memory.low=4096", ""},
		{`{"pids": {"limit": 7}, "cpu": {"shares": 2}}`, "pids.max=7 cpu.weight=1", ""},
		{`{"pids": {"limit": -1}, "cpu": {"shares": 262144}}`, "pids.max=max cpu.weight=10000", ""},
		{`{"cpu": {"quota": 150000, "period": 100000, "cpus": "0-3"}}`, "cpu.max=150000 100000", ""},
		{`{"cpu": {"quota": -1}, "devices": [{"allow": false}]}`, "cpu.max=max", ""},
		{`{"unified": {"memory.high": "9", "memory.swap.max": "0", "hugetlb.2MB.max": "0"}}`, "memory.high=9", ""},
		{`{"cpu": {"cpus": "1"}}`, "", "update cpu.cpus: not supported"},
		{`{"blockIO": {"weight": 5}}`, "", "update blockIO.weight: not supported"},
		{`{"memory": {"kernel": 5}}`, "", "update memory.kernel: not supported"},
		{`{"devices": [{"allow": true}]}`, "", "update devices: not supported"},
		{`{"memory": {"limit": 314572801}}`, "", "the machine has 300 MiB"},
		{`{"cpu": {"quota": 200001, "period": 100000}}`, "", "the machine has 2 processors"},
	} {
		next := read(test.next)
		err := checkUpdate(was, next, size{300, 2, 1})
		if (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("checkUpdate(%s) = %v, want %q", test.next, err, test.refused)
		}
		var limits []string
		for _, l := range limitsOf(next) {
			limits = append(limits, l.file+"="+l.value)
		}
		if got := strings.Join(limits, " "); test.refused == "" && got != test.limits {
			t.Errorf("limits of %s: %q, want %q", test.next, got, test.limits)
		}
	}
	merged := merge(was, read(`{"memory": {"limit": 7}, "pids": {"limit": 3}}`))
	if got := flat(merged); got["memory.limit"] != "7" || got["memory.swap"] != "5" || got["cpu.shares"] != "512" || got["pids.limit"] != "3" {
		t.Errorf("merged: %v", got)
	}
}
