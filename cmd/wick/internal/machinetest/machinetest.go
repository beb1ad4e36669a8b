// Package machinetest makes what tests boot machines from. It builds the guest's programs from this
// module, and the images around them as wick run does. If the host lacks something, the test is
// skipped with the remedy.
package machinetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/vmm"
)

// Fixture is what machines of an architecture are booted from.
type Fixture struct {
	Choice vmm.Choice
	Kernel *kernel.Kernel
	// Root is the root image: busybox and the init.
	Root image.Root
	// Initramfs loads the kernel's modules and goes on to the root image. It is "" for a kernel
	// that needs no modules and starts the init in the root image itself.
	Initramfs string
	// Store is the user's cache, which also has the images of wick run.
	Store cache.Dir
}

// Trial is machine.Trial. This package must not import package machine, whose own tests import this
// one.
type Trial func(ctx context.Context, dir cache.Dir, kernel string) vmm.Trial

// kernelEnv names a kernel with everything built in, to use instead of Debian's.
// scripts/guest-kernel builds one.
const kernelEnv = "WICK_KERNEL"

// New makes a fixture around an init. It uses QEMU, and Debian's kernel or, for machines of this
// host's architecture, the one that $WICK_KERNEL names. If the host lacks something, [Need]
// recognises the error.
func New(ctx context.Context, arch string, init []byte, try Trial) (*Fixture, error) {
	store, err := cache.Default()
	if err != nil {
		return nil, err
	}
	l := &Fixture{Store: store}
	host := vmm.Look(arch)
	if host.QEMU == "" { // before a kernel is fetched in vain
		_, err := host.Choose(vmm.QEMU, nil)
		return nil, err
	}
	if path := os.Getenv(kernelEnv); path != "" && arch == runtime.GOARCH {
		l.Kernel, err = kernel.Given(ctx, store, arch, path)
	} else {
		l.Kernel, err = kernel.Debian(ctx, store, arch)
	}
	if err != nil {
		return nil, err
	}
	if l.Choice, err = host.Choose(vmm.QEMU, try(ctx, store, l.Kernel.Image)); err != nil {
		return nil, err
	}
	path, remove, err := temporary(init)
	if err != nil {
		return nil, err
	}
	defer remove()
	if l.Root, err = image.Build(ctx, store, arch, "", path); err != nil {
		return nil, err
	}
	if l.Kernel.Modules != "" {
		l.Initramfs, err = l.Kernel.Initramfs(ctx, store, kernel.Initramfs{Init: l.Root.Init})
	}
	return l, err
}

func temporary(content []byte) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "machinetest-")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "init")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return path, func() { os.RemoveAll(dir) }, nil
}

// Spec returns a machine with the root image, and with the overlay image as its second drive unless
// that is "".
func (l *Fixture) Spec(overlay string) vmm.Spec {
	spec := vmm.Spec{
		Arch: l.Kernel.Arch, Kernel: l.Kernel.Image, Initramfs: l.Initramfs,
		Drives: []vmm.Drive{{Path: l.Root.Path, ReadOnly: true}},
	}
	if l.Initramfs == "" {
		spec.Init = l.Root.Init
	}
	if overlay != "" {
		spec.Drives = append(spec.Drives, vmm.Drive{Path: overlay})
	}
	return spec
}

// InitramfsWith returns the path of an initramfs that loads more modules than the usual one. It is
// empty for a kernel without modules, which has its drivers built in or lacks them.
func (l *Fixture) InitramfsWith(ctx context.Context, modules ...string) (string, error) {
	if l.Initramfs == "" {
		return "", nil
	}
	return l.Kernel.Initramfs(ctx, l.Store, kernel.Initramfs{Init: l.Root.Init, Extra: modules})
}

// Program builds a program of the module for a guest, like the shipped ones but without the
// revision. The same source must give the same images. It returns the content and leaves no file.
func Program(ctx context.Context, arch, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "machinetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	path := filepath.Join(dir, "program")
	build := filepath.Join(filepath.Dir(string(mod)), "scripts/build")
	cmd := exec.CommandContext(ctx, build, "-o", path, arch, pkg)
	cmd.Env = append(os.Environ(), "VERSION=devel")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("scripts/build %s: %w: %s", pkg, err, said)
	}
	return os.ReadFile(path)
}

// Need ends a test that has an error. It skips the test if the host lacks something, and else fails
// it.
func Need(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	_, noVMM := errors.AsType[*vmm.BackendError](err)
	_, noPackage := errors.AsType[*debian.UnavailableError](err)
	tool, noTool := errors.AsType[*image.ToolError](err)
	if noVMM || noPackage || noTool && tool.Remedy != "" {
		Lacking(t, err)
	}
	t.Fatal(err)
}

// Lacking skips a test for the given reason, which includes the remedy. If $CI is set, tests may
// not be skipped, so it fails the test.
func Lacking(t testing.TB, reason any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Boots skips a test that boots machines when short tests are asked for.
func Boots(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine, which takes seconds: run without -short")
	}
}
