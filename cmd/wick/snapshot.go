//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/framing/client"
)

// snapshotCommand returns wick snapshot.
func (t *tool) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot MACHINE [DIR]",
		Short: "Save a machine as it is, to run copies of it",
		Long: `Save a machine of wick run -d in the new directory DIR, by default MACHINE.snapshot here, and
print its name. It has the machine's memory, its devices, and copies of all its disks. wick
run --from DIR runs a copy, as often as wanted.

The commands in the guest stand still meanwhile, and go on afterwards. In each copy they go
on once it has a clock, random numbers and a machine-id of its own. A paused machine stays
paused. On Firecracker all vsock connections to the guest end: commands of wick exec end
too, and that of the machine goes on.

After an error, or Ctrl-C, there is no DIR, and the machine runs on. Machines of Firecracker
and of --vmm qemu-vhost can be saved. Those of --vmm qemu cannot, because QEMU cannot save
their vsock device, nor can those that share a directory of the host.`,
		Example: `  wick run -d --name web --vmm qemu-vhost -p 8080:80 nginx
  wick snapshot web ./warm
  wick run -d --name web2 -p 8081:80 --from ./warm`,
		Args:              snapshotArgs,
		ValidArgsFunction: completeMachineThenDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := keeper.Default()
			if err != nil {
				return err
			}
			m, err := s.Find(args[0])
			if err != nil {
				return err
			}
			state, err := m.State()
			if err != nil {
				return err
			}
			dir := state.Name + ".snapshot"
			if len(args) > 1 {
				dir = args[1]
			}
			path, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			if _, err := m.Call(cmd.Context(), keeper.Request{Op: keeper.OpSnapshot, Path: path}); err != nil {
				machine.Sweep(filepath.Dir(path)) // of a supervisor that was killed
				return err
			}
			_, err = fmt.Fprintln(t.stdout, dir)
			return err
		},
	}
}

func snapshotArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return needs("MACHINE")(cmd, args)
}

func completeMachineThenDir(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return completeMachines(cmd, args, word)
}

// savedThaw is when a guest's commands go on by themselves, if the host is gone. A copy must have
// its identity before.
const savedThaw = time.Minute

// snapshot saves the machine in a directory. The commands in the guest stand still, so that those
// of a copy do nothing before it has an identity.
func (s *supervisor) snapshot(ctx context.Context, vm *machine.Machine, path string) error {
	if !s.r.flags.detach {
		return errors.New("it does not stay; run it with -d to save it")
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	c, status := s.guest, s.state.Status
	use := machine.Use{Image: s.state.Image, Command: s.state.Command, Process: s.state.Process}
	s.mu.Unlock()
	paused := status == keeper.Paused
	if !paused && status != keeper.Running || c == nil {
		return fmt.Errorf("it is %s, not running or paused", status)
	}
	if err := vm.CanSave(); err != nil {
		return err
	}
	if !paused {
		switch err := c.FreezeCommands(ctx, savedThaw); {
		case err == nil:
			defer s.thaw(context.WithoutCancel(ctx), c)
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EOPNOTSUPP):
			// An older guest, or one without cgroups: its commands run on in a copy.
		default:
			return err
		}
	}
	return vm.Save(ctx, path, use, paused)
}

// thawLimit limits the time in which a guest is asked to thaw. It does so by itself later.
const thawLimit = 10 * time.Second

// thaw lets the commands of a guest go on. saving is held.
func (s *supervisor) thaw(ctx context.Context, c *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, thawLimit)
	defer cancel()
	for err := c.Thaw(ctx); err != nil; err = c.Thaw(ctx) {
		next, ok := s.regain(ctx, c)
		if !ok {
			return // it is not frozen any more, or will not be soon
		}
		c = next
	}
}

// current returns the connection to the guest.
func (s *supervisor) current() *client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guest
}

// regained returns another connection instead of old, if that has ended because Firecracker saved
// the machine.
func (s *supervisor) regained(ctx context.Context, old *client.Client) (*client.Client, bool) {
	s.saving.Lock()
	defer s.saving.Unlock()
	return s.regain(ctx, old)
}

// regainLimit limits the time in which the guest connects again.
const regainLimit = time.Minute

// regain is regained while saving is held.
func (s *supervisor) regain(ctx context.Context, old *client.Client) (*client.Client, bool) {
	s.mu.Lock()
	c, vm := s.guest, s.vm
	s.mu.Unlock()
	if c != old {
		return c, true
	}
	if c.Err() == nil || vm == nil || !vm.Saved() {
		return nil, false
	}
	c, err := vm.Dial(ctx, regainLimit)
	if err != nil {
		return nil, false
	}
	old.Close()
	s.setGuest(c)
	s.r.forwarder.SetClient(c)
	return c, true
}

func (s *supervisor) setGuest(c *client.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guest = c
}

// waitOn waits for the command's end. It survives a snapshot.
func (s *supervisor) waitOn(ctx context.Context, cmd *client.Cmd) (*client.Receipt, error) {
	c := s.current()
	for {
		r, err := cmd.Wait(ctx)
		for r == nil && lost(err) {
			next, ok := s.regained(ctx, c)
			if !ok {
				return nil, err
			}
			c = next
			if err = cmd.Reattach(ctx, c); err == nil {
				break
			}
		}
		if r != nil || err != nil {
			return r, err
		}
	}
}

// idle waits until the machine is to stop, or its connection is lost for good.
func (s *supervisor) idle(ctx context.Context) error {
	for c := s.current(); ; {
		select {
		case <-s.stopped:
			return nil
		case <-c.Done():
		}
		next, ok := s.regained(ctx, c)
		if !ok {
			return c.Err()
		}
		c = next
	}
}

func lost(err error) bool {
	_, lost := errors.AsType[*client.ConnError](err)
	return lost
}

// takeOver takes part in the command that the machine ran when it was saved. It returns nil if
// there is no such command any more.
func (s *supervisor) takeOver(ctx context.Context, c *client.Client, connect func(*client.Cmd)) (*client.Cmd, error) {
	text := s.r.saved.Use.Process
	if text == "" {
		return nil, nil
	}
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: process %q: %w", s.r.options.From, text, err)
	}
	cmd, err := c.Attach(ctx, id, client.AttachOptions{Prepare: connect})
	if errors.Is(err, syscall.ESRCH) {
		return nil, nil
	}
	return cmd, err
}

// takeOver takes part in the command that the machine ran when it was saved.
func (r *runner) takeOver(ctx context.Context, c *client.Client, _ *sessionFlags, _ []string) error {
	p, err := findProcess(ctx, c, r.saved.Use.Process)
	if err != nil {
		return exit.NotRun(fmt.Errorf("COMMAND is missing, and that of the snapshot has ended: %w", err))
	}
	return r.t.attach(ctx, c, p, attachOptions{stdin: r.flags.stdin, kill: true})
}

// ofSnapshot are the flags of wick run that a snapshot decides.
var ofSnapshot = []string{
	"rootfs", "image", "arch", "platform", "kernel", "module", "memory", "mem", "cpus", "overlay", "overlay-size", "volume",
	"mount", "disk", "tmpfs", "drive", "net", "dns", "dns-search", "vmm", "init-arg",
}

// checkFrom checks the flags of a machine that goes on from a snapshot.
func (r *runner) checkFrom(cmd *cobra.Command) (err error) {
	o := &r.options
	for _, name := range ofSnapshot {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s and --from exclude each other; a copy has what the snapshot has", name)
		}
	}
	if r.saved, err = machine.ReadSaved(o.From); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if r.saved.Spec.MemoryMiB != 0 {
		o.MemoryMiB = r.saved.Spec.MemoryMiB
	}
	if r.saved.Spec.CPUs != 0 {
		o.CPUs = r.saved.Spec.CPUs
	}
	o.Hostname, o.Arch = r.host.hostname, r.saved.Spec.Arch
	return nil
}

// checkFromCommand checks the command of such a machine, and chooses what runs it.
func (r *runner) checkFromCommand() error {
	if len(r.args) > 0 {
		_, err := r.flags.command(nil, r.args)
		return err
	}
	flag := r.flags.wanted()
	switch {
	case r.stay.restart != restartNo:
		flag = "--restart"
	case len(r.flags.env) > 0:
		flag = "--env"
	}
	if flag != "" && !slices.Contains([]string{"-i", "--detach"}, flag) {
		return exit.Usage(fmt.Errorf("%s is for a COMMAND, which is missing; the snapshot's own command goes on as it is", flag))
	}
	if r.saved.Use.Process == "" && !r.flags.detach {
		return exit.Usage(errors.New("COMMAND is missing, and the snapshot has no command that could go on"))
	}
	r.use = r.takeOver
	return nil
}
