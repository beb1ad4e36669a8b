package guesttest

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/machinetest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(standInEnv) != "" {
		standIn()
		return
	}
	leaktest.Main(m, cache.Release)
}

// fixture has the parts of machines.
type fixture struct {
	*machinetest.Fixture
	// stay has vm-init in the initramfs itself, started once the modules are loaded. bare has
	// vm-init and loads no module.
	stay, bare string
	// loopback also loads the loopback of vsock, through which processes of the guest reach the
	// agent's port.
	loopback string
	// peer and attack are the programs of these names. agent is vsock-agent, and init vm-init.
	peer, attack, agent, init []byte
}

const initPath = "/sbin/vm-init"

// makeFixture returns a function that makes a fixture once, for the first test that needs it.
func makeFixture(arch string) func() (*fixture, error) {
	return sync.OnceValues(func() (l *fixture, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		init, err := machinetest.Program(ctx, arch, "wick/cmd/vm-init")
		if err != nil {
			return nil, err
		}
		l = &fixture{init: init}
		if l.Fixture, err = machinetest.New(ctx, arch, init, machine.Trial); err != nil {
			return nil, err
		}
		for pkg, program := range map[string]*[]byte{
			"wick/cmd/wick/internal/guesttest/peer": &l.peer, "wick/cmd/wick/internal/guesttest/attack": &l.attack, "wick/cmd/vsock-agent": &l.agent,
		} {
			if *program, err = machinetest.Program(ctx, arch, pkg); err != nil {
				return nil, err
			}
		}
		if l.loopback, err = l.InitramfsWith(ctx, "vsock_loopback"); err != nil {
			return nil, err
		}
		own := kernel.Initramfs{Init: initPath, Stay: true, Files: map[string][]byte{initPath: init}}
		if l.stay, err = l.Kernel.Initramfs(ctx, l.Store, own); err != nil {
			return nil, err
		}
		noModules := kernel.Kernel{Arch: arch, Image: l.Kernel.Image}
		l.bare, err = noModules.Initramfs(ctx, l.Store, own)
		return l, err
	})
}

// stays makes the machine boot with vm-init in the initramfs.
func (l *fixture) stays(c *config) { c.Initramfs, c.Init = l.stay, "" }

var (
	hostFixture  = makeFixture(runtime.GOARCH)
	arm64Fixture = makeFixture("arm64")
)

// needFixture skips or fails the test if no machine can be booted here.
func needFixture(t *testing.T) *fixture {
	t.Helper()
	return need(t, hostFixture)
}

func need(t *testing.T, made func() (*fixture, error)) *fixture {
	t.Helper()
	machinetest.Boots(t)
	l, err := made()
	machinetest.Need(t, err)
	return l
}
