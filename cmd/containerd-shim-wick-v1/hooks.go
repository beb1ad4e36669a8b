package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// holder is a process on the host that stands for a container while hooks run. It has the network
// namespace in which they make the container's interface.
type holder struct {
	cmd  *exec.Cmd
	stop io.Closer // its stdin: it ends with the shim
}

// hold is the holder's main. It ends with its stdin.
func hold() { io.Copy(io.Discard, os.Stdin) }

// newHolder starts a holder, in a network namespace of its own if the spec asks for one.
func newHolder(spec *specs.Spec) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "hold")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if path, has := namespace(spec, specs.NetworkNamespace); has && path == "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process for the hooks: %w", err)
	}
	return &holder{cmd, stdin}, nil
}

func (h *holder) network() string { return fmt.Sprintf("/proc/%d/ns/net", h.cmd.Process.Pid) }

func (h *holder) close() {
	h.stop.Close()
	h.cmd.Wait()
}

// hookLimit limits a hook that has no timeout of its own.
const hookLimit = time.Minute

// The kinds of hooks that run on the host, by their names in the spec. Some clients still write
// prestart.
const (
	prestart, createRuntime, poststart, poststop = "prestart", "createRuntime", "poststart", "poststop"
)

// hooksOf returns the hooks of a spec by their kinds.
func hooksOf(spec *specs.Spec) (all map[string][]specs.Hook) {
	if b, err := json.Marshal(spec.Hooks); err == nil {
		json.Unmarshal(b, &all)
	}
	return all
}

// runHooks runs the hooks of a kind on the host, with the container's state on their stdin; the OCI
// runtime spec.
func (c *container) runHooks(
	ctx context.Context, kind string, state specs.ContainerState, pid int,
) error {
	hooks := hooksOf(c.spec)[kind]
	text, err := json.Marshal(specs.State{
		Version: specs.Version, ID: c.id, Status: state, Pid: pid, Bundle: c.bundle,
		Annotations: c.spec.Annotations,
	})
	if err != nil {
		return err
	}
	for i := range hooks {
		hook := &hooks[i]
		limit := hookLimit
		if hook.Timeout != nil && *hook.Timeout > 0 {
			limit = time.Duration(*hook.Timeout) * time.Second
		}
		run, cancel := context.WithTimeout(ctx, limit)
		cmd := exec.CommandContext(run, hook.Path)
		if len(hook.Args) > 0 {
			cmd.Args = hook.Args
		}
		cmd.Env, cmd.Dir = hook.Env, c.bundle
		if cmd.Env == nil {
			cmd.Env = []string{}
		}
		cmd.WaitDelay = time.Second
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("run the hook %s: %w: %s", hook.Path, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// setUp runs the hooks that make the container's network, if there are any. They find it in the
// network namespace of a process, as with runc.
func (c *container) setUp(ctx context.Context) (err error) {
	if len(hooksOf(c.spec)) == 0 {
		return nil
	}
	if err := os.WriteFile(hooksFile(c.s.dir, c.id), nil, 0o600); err != nil {
		return err
	}
	if c.holder, err = newHolder(c.spec); err != nil {
		return err
	}
	pid := c.holder.cmd.Process.Pid
	for _, kind := range []string{prestart, createRuntime} {
		if err := c.runHooks(ctx, kind, specs.StateCreating, pid); err != nil {
			return err
		}
	}
	return nil
}

// tearDown runs the hooks for the end, and ends the holder.
func (c *container) tearDown() {
	if c.holder == nil {
		return
	}
	// They must not fail the deletion; the OCI runtime spec.
	err := c.runHooks(context.Background(), poststop, specs.StateStopped, 0)
	if err != nil {
		c.s.log.Warn("delete", "container", c.id, "error", err)
	}
	os.Remove(hooksFile(c.s.dir, c.id))
	c.holder.close()
	c.holder = nil
}

// hooksFile returns a file that exists while a container's hooks for the end are to be run.
func hooksFile(place, id string) string { return filepath.Join(place, "hooks."+id) }

// networkPath returns the path of the network namespace with the machine's interface, or "". host
// says that the machine has the host's network.
func (c *container) networkPath() (path string, host bool) {
	path, has := namespace(c.spec, specs.NetworkNamespace)
	if path == "" && has && c.holder != nil {
		path = c.holder.network()
	}
	return path, !has
}
