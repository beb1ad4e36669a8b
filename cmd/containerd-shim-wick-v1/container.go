package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"wick/cmd/wick/machine"
	"wick/framing"
	"wick/framing/client"
)

// container is a container: alone in its machine, or one of a pod.
type container struct {
	s      *service
	id     string
	bundle string
	number int // its directory in the share
	spec   *specs.Spec
	fs     rootfs
	root   string       // its root directory in the guest; "" is the machine's
	binds  map[int]bond // by the number of the mount in the spec
	init   *process
	holder *holder    // for the hooks, or nil
	ports  *forwarder // of a pod's sandbox, or nil

	created bool       // guarded by the service's mu
	pausing sync.Mutex // held while it is paused or resumed, which takes until the monitor answers

	mu sync.Mutex
	// mu guards the fields from here on.
	execs  map[string]*process
	paused bool
	cgroup string // the directory of the first process's cgroup in the guest, or ""
}

// bond is a file or directory of the host that the guest sees.
type bond struct {
	guest string
	dir   bool
	nests bool // there are mounts below it
}

// pid returns the process ID that containerd gets for the container: the monitor's.
func (c *container) pid() uint32 { return uint32(c.s.monitor()) }

// alone reports whether the container has the machine for itself.
func (c *container) alone() bool { return c.spec.Annotations[containerType] == "" }

// isSandbox reports whether it is the sandbox of a pod, whose machine it makes.
func (c *container) isSandbox() bool {
	return c.spec.Annotations[containerType] == "sandbox" || c.s.group == c.id
}

// needsShare reports whether the guest needs files of the host.
func (c *container) needsShare() bool {
	return !c.alone() || slices.ContainsFunc(c.spec.Mounts, func(m specs.Mount) bool { return isBind(&m) })
}

// hostDir is the container's directory in the share.
func (c *container) hostDir() string { return filepath.Join(c.s.shareDir(), strconv.Itoa(c.number)) }

func (c *container) guestDir() string { return shareDir + "/" + strconv.Itoa(c.number) }

// shareBinds puts the files and directories of the spec's bind mounts into the share.
func (c *container) shareBinds() error {
	c.binds = map[int]bond{}
	for i, m := range c.spec.Mounts {
		if !isBind(&m) || m.Destination == "/dev/shm" {
			continue
		}
		info, err := os.Stat(m.Source)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		name := "b" + strconv.Itoa(i)
		target := filepath.Join(c.hostDir(), name)
		switch {
		case info.IsDir():
			err = os.MkdirAll(target, 0o700)
		case info.Mode().IsRegular():
			if err = os.MkdirAll(c.hostDir(), 0o700); err == nil {
				err = os.WriteFile(target, nil, 0o600)
			}
		default:
			return refused("mount %s: %s is neither a directory nor a file", m.Destination, m.Source)
		}
		if err == nil {
			err = bind(m.Source, target, slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro"))
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		c.binds[i] = bond{c.guestDir() + "/" + name, info.IsDir(), len(mountsBelow(target)) > 1}
	}
	return nil
}

// boot boots the machine of the container.
func (c *container) boot(ctx context.Context) (_ *machine.Machine, err error) {
	s := c.s
	size, err := sizeOf(c.spec)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.size = size
	s.mu.Unlock()
	config := machine.Config{
		MemoryMiB: size.memoryMiB, CPUs: size.cpus, OverlayMiB: size.diskMiB,
		Kernel: c.spec.Annotations[kernelAnnotation], VMM: c.spec.Annotations[vmmAnnotation],
		Dir: s.dir, Logger: s.log,
		Progress: func(text string) { s.log.Info(text) },
	}
	var network wiring
	if path, host := c.networkPath(); host {
		config.Net = "user"
	} else if path != "" {
		if network, err = joinNetwork(path); err != nil {
			return nil, err
		}
		if len(network.taps) > 0 {
			config.Net, config.MoreNets, config.NetNS = network.taps[0], network.taps[1:], path
		}
	}
	if c.spec.Hostname != "" {
		config.InitArgs = append(config.InitArgs, "--hostname="+c.spec.Hostname)
	}
	if c.needsShare() {
		if config.VMM == "firecracker" {
			return nil, refused("share files of the host: Firecracker has no file sharing; use QEMU, or no bind mounts")
		}
		config.Volumes = []machine.Volume{{Target: shareDir, Dir: s.shareDir()}}
	}
	release, err := c.fs.configure(&config, filepath.Join(s.dir, "root"))
	if err != nil {
		return nil, err
	}
	defer release()
	m, err := machine.Boot(ctx, config)
	if err == nil && len(network.taps) > 0 {
		if err = m.Client().SetNetwork(ctx, network.config); err != nil {
			m.Kill()
		}
	}
	if err == nil && config.NetNS != "" && !c.alone() {
		var bad error
		if c.ports, bad = newForwarder(config.NetNS); bad != nil {
			s.log.Warn("no port is forwarded", "error", bad)
		} else {
			go c.ports.serve(s)
		}
	}
	return m, err
}

// join gives a container of a pod its root file system in the machine that runs.
func (c *container) join() error {
	if c.fs.device() != "" {
		return refused("give a container of a pod a block device as its root: not supported; use the overlayfs snapshotter")
	}
	if err := c.fs.mount(filepath.Join(c.hostDir(), "rootfs"), filepath.Join(c.hostDir(), "layers")); err != nil {
		return err
	}
	c.root = c.guestDir() + "/rootfs"
	return nil
}

// prepare makes the working directory, as runc does.
func (c *container) prepare(ctx context.Context, vm *client.Client) {
	if cwd := c.spec.Process.Cwd; cwd != "" && cwd != "/" {
		vm.MkdirAll(ctx, c.root+cwd, 0o755)
	}
}

// passwdLimit limits how much of the container's /etc/passwd is read, in bytes.
const passwdLimit = 1 << 20

// addHome sets HOME to that of the user in the container's /etc/passwd, as runc does, unless it is
// set.
func (c *container) addHome(ctx context.Context, cmd *client.Cmd, uid uint32) {
	if slices.ContainsFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		return
	}
	home := "/"
	if f, err := c.s.client().OpenRead(ctx, c.root+"/etc/passwd", 0, passwdLimit); err == nil {
		in := bufio.NewScanner(f)
		for in.Scan() {
			// name:password:uid:gid:comment:home:shell
			field := strings.Split(in.Text(), ":")
			if len(field) > 5 && field[2] == strconv.FormatUint(uint64(uid), 10) && field[5] != "" {
				home = field[5]
				break
			}
		}
		f.Close()
	}
	cmd.Env = append(slices.Clone(cmd.Env), "HOME="+home)
}

// release removes what the container has on the host.
func (c *container) release() error {
	var err error
	c.ports.close()
	if path, _ := c.networkPath(); path != "" && c.isSandbox() {
		err = leaveNetwork(path)
	}
	c.tearDown()
	if c.needsShare() {
		err = errors.Join(err, removeTree(c.hostDir()))
	}
	return err
}

// process returns the process with that id, "" for the first, or nil.
func (c *container) process(exec string) *process {
	if exec == "" {
		return c.init
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.execs[exec]
}

// pause stops or continues the container.
func (c *container) pause(ctx context.Context, on bool) error {
	c.pausing.Lock()
	defer c.pausing.Unlock()
	if c.isPaused() == on {
		return nil
	}
	var err error
	switch m := c.s.vm(); {
	case m == nil:
		err = fmt.Errorf("the machine has ended")
	case c.alone() && on:
		err = m.Pause(ctx)
	case c.alone():
		err = m.Unpause(ctx)
	default:
		sig := unix.SIGCONT
		if on {
			sig = unix.SIGSTOP
		}
		c.mu.Lock()
		ids := c.processIDs()
		c.mu.Unlock()
		for _, id := range ids {
			if e := m.Client().SignalID(ctx, id, sig, framing.ScopeTree); err == nil {
				err = e
			}
		}
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = on
	return nil
}

func (c *container) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// processIDs returns the ids of the processes that run. c.mu is held.
func (c *container) processIDs() (ids []uint64) {
	for _, p := range append([]*process{c.init}, values(c.execs)...) {
		p.mu.Lock()
		if p.cmd != nil {
			ids = append(ids, p.cmd.ID())
		}
		p.mu.Unlock()
	}
	return ids
}

func values(m map[string]*process) (list []*process) {
	for _, p := range m {
		list = append(list, p)
	}
	return list
}
