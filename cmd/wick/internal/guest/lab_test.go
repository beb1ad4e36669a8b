package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// lab is what machines are made from.
type lab struct {
	choice vmm.Choice
	kernel string
	// root is the root image.
	root image.Root
	// modules is an initramfs that loads modules and goes on to the root image; in stay vm-init is in the initramfs itself,
	// started once the modules are loaded; bare has vm-init and no module at all is loaded.
	modules, stay, bare string
	// peer is the program of that name, and agent is vsock-agent.
	peer, agent []byte
}

const initPath = "/sbin/vm-init"

// The lab is made once, by the first test that needs it. Its images stay in the user's cache, as those of wick run do.
var theLab = sync.OnceValues(func() (*lab, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return makeLab(ctx)
})

// needLab skips or fails if no machine can be booted here.
func needLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("boots machines, which takes a minute: run without -short")
	}
	l, err := theLab()
	if err == nil {
		return l
	}
	_, noVMM := errors.AsType[*vmm.BackendError](err)
	_, noPackage := errors.AsType[*debian.UnavailableError](err)
	tool, noTool := errors.AsType[*image.ToolError](err)
	if noVMM || noPackage || noTool && tool.Remedy != "" {
		lacking(t, err)
	}
	t.Fatal(err)
	return nil
}

// lacking skips for want of something, the remedy being in the text; where nothing may be skipped it fails.
func lacking(t *testing.T, reason any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func makeLab(ctx context.Context) (*lab, error) {
	dir, err := cache.Default()
	if err != nil {
		return nil, err
	}
	k, err := kernel.Debian(ctx, dir)
	if err != nil {
		return nil, err
	}
	l := &lab{kernel: k.Image}
	if l.choice, err = vmm.Look().Choose(vmm.QEMU, machine.Trial(ctx, dir, k.Image)); err != nil {
		return nil, err
	}
	built, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(built)
	init := filepath.Join(built, "vm-init")
	if err := goBuild(ctx, init, "wick/cmd/vm-init"); err != nil {
		return nil, err
	}
	for pkg, program := range map[string]*[]byte{"wick/cmd/wick/internal/guest/peer": &l.peer, "wick/cmd/vsock-agent": &l.agent} {
		path := filepath.Join(built, filepath.Base(pkg))
		if err := goBuild(ctx, path, pkg); err != nil {
			return nil, err
		}
		if *program, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	if l.root, err = image.Build(ctx, dir, "", init); err != nil {
		return nil, err
	}
	if l.modules, err = k.Initramfs(ctx, dir, kernel.Initramfs{Init: l.root.Init}); err != nil {
		return nil, err
	}
	own := kernel.Initramfs{Init: initPath, Stay: true, Files: map[string]string{initPath: init}}
	if l.stay, err = k.Initramfs(ctx, dir, own); err != nil {
		return nil, err
	}
	noModules := kernel.Kernel{Image: k.Image}
	l.bare, err = noModules.Initramfs(ctx, dir, own)
	return l, err
}

// goBuild builds a program for the guest as those that are shipped are built, but for the revision: the same source shall give the same images.
func goBuild(ctx context.Context, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=nogreenteagc")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, said)
	}
	return nil
}
