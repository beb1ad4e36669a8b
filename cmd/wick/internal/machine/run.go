package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// ErrUnresponsive is wrapped by an error of Use when the guest does not answer any more. The
// machine is then killed, and not asked to power off.
var ErrUnresponsive = errors.New("the guest does not answer")

// Run boots a machine, copies files into it, calls Use, and powers it off. When ctx ends the
// machine is powered off, or killed if it is not up yet. When Run returns, nothing of the machine
// is left unless Keep is set. The error of a machine that did not come up is as for [Boot].
func Run(ctx context.Context, o Options, ui UI) error {
	g, err := Boot(ctx, o, ui)
	if err != nil {
		return err
	}
	defer g.Close()
	err = o.use(ctx, g.Client)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	} else if gone, ok := errors.AsType[*client.ConnError](err); ok {
		err = g.explain(gone)
	}
	if errors.Is(err, ErrUnresponsive) {
		// The guest cannot be asked to go down, and the promised time is over.
		g.Kill()
		ui.Event(Event{Stage: Killed, Detail: ErrUnresponsive.Error() + "; killed it"})
		return err
	}
	ui.Event(Event{Stage: PoweringOff})
	// The user's ctx may have ended, but the guest is still to go down in order.
	limit, stop := context.WithTimeout(context.WithoutCancel(ctx), DownLimit)
	defer stop()
	c := g.Client
	if c.Err() != nil && g.Saved() && !g.ended() {
		if again, err := client.Dial(limit, "firecracker:"+g.UDS()); err == nil {
			defer again.Close()
			c = again
		}
	}
	if down := g.PowerOff(limit, c); down != nil {
		// The run does not fail: the command has run, or there is a better error already.
		ui.Event(Event{Stage: Killed, Detail: down.Error()})
	}
	return err
}

// build makes everything that a machine is started from, except the disks of this run.
func (o *Options) build(ctx context.Context, ui UI) (Config, error) {
	config := Config{
		Console: o.Console, Logger: o.Logger, NetNS: o.NetNS,
		Spec: vmm.Spec{Arch: o.Arch, MemoryMiB: o.MemoryMiB, CPUs: o.CPUs, Cmdline: o.Cmdline,
			Verbose: o.Console != nil},
	}
	config.Spec.InitArgs = o.InitArgs
	host := vmm.Look(o.Arch)
	modules := o.Modules
	if o.Net != nil {
		config.Spec.Net = o.Net
		config.Spec.InitArgs = append(o.Net.InitArgs(), o.InitArgs...)
		modules = append([]string{"virtio_net"}, modules...)
		for _, n := range append([]*vmm.Net{o.Net}, o.Net.More...) {
			if err := checkNet(n, o.VMM, o.NetNS); err != nil {
				return config, err
			}
		}
		if o.Net.Tap == "" {
			host.Firecracker = "" // it has no network in user mode
		}
	}
	if o.shares() && host.QEMU != "" && o.VMM != vmm.Firecracker {
		host.Firecracker = "" // it can only copy directories
		modules = append(shareModules[:len(shareModules):len(shareModules)], modules...)
	}
	if host.Firecracker == "" && host.QEMU == "" {
		// Check this before anything is fetched.
		_, err := host.Choose(o.VMM, nil)
		return config, err
	}
	if len(o.Base) > 0 {
		modules = append([]string{"erofs", "ext4"}, modules...)
	}
	if o.DrivesOnly || len(o.Base) > 0 {
		return config, o.buildBare(ctx, &config, host, modules, ui)
	}
	// The root image comes first, because the user gave it and it may not be a root at all.
	ui.Event(Event{Stage: Building, Detail: "root image"})
	root, err := o.root(ctx)
	if err != nil {
		return config, err
	}
	for note := range strings.Lines(root.Notes) {
		ui.Event(Event{Stage: Noted, Detail: strings.TrimSuffix(note, "\n")})
	}
	ui.Event(Event{Stage: Building, Detail: "kernel"})
	k, err := o.kernel(ctx)
	if err != nil {
		return config, err
	}
	config.Spec.Kernel = k.Image
	if config.Choice, err = host.Choose(o.VMM, Trial(ctx, o.Cache, k.Image)); err != nil {
		return config, err
	}
	config.Spec.Drives = []vmm.Drive{{Path: root.Path, ReadOnly: true}}
	if k.Modules == "" {
		config.Spec.Init = root.Init
		return config, nil
	}
	config.Spec.Initramfs, err = k.Initramfs(ctx, o.Cache,
		kernel.Initramfs{Extra: modules, Init: root.Init})
	return config, err
}

func (o *Options) root(ctx context.Context) (image.Root, error) {
	if o.Image != nil {
		return o.Image.Root(ctx, o.Cache, o.Init)
	}
	if o.Layers != nil {
		return image.Layered(ctx, o.Cache, o.Rootfs, o.Layers, o.Init)
	}
	return image.Build(ctx, o.Cache, o.Arch, o.Rootfs, o.Init)
}

func (o *Options) kernel(ctx context.Context) (*kernel.Kernel, error) {
	if o.Kernel != "" {
		return kernel.Given(ctx, o.Cache, o.Arch, o.Kernel)
	}
	// Debian's cloud kernel has no erofs.
	if o.shares() && o.VMM != vmm.Firecracker || len(o.Base) > 0 {
		return kernel.General(ctx, o.Cache, o.Arch)
	}
	return kernel.Debian(ctx, o.Cache, o.Arch)
}

// buildBare makes an initramfs that has vm-init itself, which mounts the root from the given
// drives.
func (o *Options) buildBare(
	ctx context.Context, config *Config, host *vmm.Host, modules []string, ui UI,
) error {
	ui.Event(Event{Stage: Building, Detail: "kernel"})
	k, err := o.kernel(ctx)
	if err != nil {
		return err
	}
	config.Spec.Kernel = k.Image
	if config.Choice, err = host.Choose(o.VMM, Trial(ctx, o.Cache, k.Image)); err != nil {
		return err
	}
	init, err := os.ReadFile(o.Init)
	if err != nil {
		return fmt.Errorf("read vm-init: %w", err)
	}
	const path = "/sbin/vm-init"
	config.Spec.Initramfs, err = k.Initramfs(ctx, o.Cache, kernel.Initramfs{
		Extra: modules, Init: path, Stay: true, Files: map[string][]byte{path: init}})
	return err
}

// disks adds the overlay, the drives of the user, and the one with the configuration.
func (o *Options) disks(ctx context.Context, dir *workDir, spec *vmm.Spec) error {
	device := func() string { return "/dev/vd" + string(rune('a'+len(spec.Drives))) }
	var base []string
	for _, path := range o.Base {
		base = append(base, device())
		spec.Drives = append(spec.Drives, vmm.Drive{Path: path, ReadOnly: true})
	}
	if len(base) > 0 {
		words := []string{"--base=" + strings.Join(base, ",")}
		if !o.Tmpfs {
			words = append(words, "--overlay="+device())
		}
		spec.InitArgs = append(words, spec.InitArgs...)
	}
	switch overlay := o.Overlay; {
	case o.DrivesOnly:
	case o.Tmpfs:
		spec.InitArgs = append([]string{"--overlay=tmpfs"}, spec.InitArgs...)
	default:
		if overlay == "" {
			overlay = dir.file("overlay.ext4")
			if err := image.Overlay(ctx, overlay, o.OverlayMiB); err != nil {
				return err
			}
		}
		spec.Drives = append(spec.Drives, vmm.Drive{Path: overlay, Durable: o.Overlay != ""})
	}
	spec.Drives = append(spec.Drives, o.Drives...)
	if o.Config != "" {
		path := dir.file("config")
		if err := os.WriteFile(path, configDrive(o.Config), 0o600); err != nil {
			return fmt.Errorf("write the configuration drive: %w", err)
		}
		spec.InitArgs = append([]string{"--config=" + device()}, spec.InitArgs...)
		spec.Drives = append(spec.Drives, vmm.Drive{Path: path, ReadOnly: true})
	}
	if len(spec.Drives) > maxDrives {
		return fmt.Errorf("give the machine %d drives: the most is %d", len(spec.Drives), maxDrives)
	}
	return nil
}

// maxDrives limits the drives of a machine. QEMU's board has 24 places for devices in all.
const maxDrives = 16

// configDrive returns the content of a drive with a text for vm-init. A drive has whole sectors,
// and the text ends at the first zero.
func configDrive(text string) []byte {
	const sector = 512
	drive := make([]byte, (len(text)/sector+1)*sector)
	copy(drive, text)
	return drive
}

// use copies the files and calls Use.
func (o *Options) use(ctx context.Context, c *client.Client) error {
	for _, p := range o.Puts {
		copyIn := put
		if info, err := os.Stat(p.Local); err == nil && info.IsDir() {
			copyIn = o.PutTree
		}
		if err := copyIn(ctx, c, p); err != nil {
			return err
		}
	}
	return o.Use(ctx, c)
}

// put copies a file of any length. A new file has mode 0644, and an executable one stays
// executable.
func put(ctx context.Context, c *client.Client, p Put) error {
	f, err := os.Open(p.Local)
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	o := client.WriteOptions{Parents: true}
	if run := info.Mode() & 0o111; run != 0 {
		o.Mode = 0o644 | run
	}
	_, err = c.WriteStream(ctx, p.Guest, f, o)
	if errors.Is(err, errors.ErrUnsupported) {
		return putOld(ctx, c, p, f, info)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", p.Local, err)
	}
	return nil
}

// putOld is put for an agent that lacks this request.
func putOld(ctx context.Context, c *client.Client, p Put, f *os.File, info os.FileInfo) error {
	if err := c.WriteFile(ctx, p.Guest, f, info.Size(), client.WriteFileOptions{}); err != nil {
		return fmt.Errorf("put %s: %w", p.Local, err)
	}
	if info.Mode()&0o111 == 0 {
		return nil
	}
	result, err := c.Exec(ctx,
		client.Exec{Command: "chmod +x -- '" + strings.ReplaceAll(p.Guest, "'", `'\''`) + "'"})
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("chmod: %s", strings.TrimSpace(string(result.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", p.Local, err)
	}
	return nil
}

// EndError reports a machine that ended while it was used. Console is its last output.
type EndError struct {
	Exit    Exit
	Err     error // of the connection
	Console []string
}

func (e *EndError) Error() string {
	return fmt.Sprintf("the machine ended under the command (%v): %v", e.Exit, e.Err)
}
func (e *EndError) Unwrap() error { return e.Err }

// explain adds how the machine ended to the error of a lost connection.
func (m *Machine) explain(err error) error {
	select {
	case <-m.Done():
		return &EndError{m.Exit(), err, m.lastWords()}
	case <-time.After(time.Second):
		// The connection ends shortly before the monitor does.
		return err
	}
}
