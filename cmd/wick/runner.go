//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/copying"
	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/forwarding"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/vmm"
	"wick/framing"
	"wick/framing/client"
)

// powerOffLimit limits the wait for a power-off after a signal. It is longer than the guest's time
// for it.
const powerOffLimit = 25 * time.Second

// archNames are other names of architectures, which uname -m prints.
var archNames = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// runner is one wick run. The first fields have its flags.
type runner struct {
	t                *tool
	flags            sessionFlags
	image            imageFlags
	options          machine.Options
	stay             stayFlags
	volumes          volumeFlags
	host             hostFlags
	puts, publish    []string
	console, network string
	publishAll       bool

	saved     *machine.Saved        // that the machine goes on from, or nil
	forwarder *forwarding.Forwarder // of the machine that runs
	args      []string              // the command, whole once the image is open
	platform  v1.Platform
	forwards  []forwarding.Forward
	published []net.Listener // of each forward
	newDir    string         // the working directory, which the image may not have
	// use runs the command in the guest.
	use func(context.Context, *client.Client, *sessionFlags, []string) error
}

// run runs the command line.
func (r *runner) run(cmd *cobra.Command, args []string) error {
	if err := r.check(cmd, args); err != nil {
		return err
	}
	// A closed stdout or stderr must not end the machine without order. SIGPIPE is caught rather
	// than ignored, because child processes would inherit that it is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	r.t.unwind.Store(int64(powerOffLimit + r.outLimit()))
	ui := &runUI{w: r.t.stderr, live: terminal.Is(r.t.stderr) && r.console == ""}
	switch {
	case r.stay.supervised():
		return r.supervise(cmd.Context())
	case r.flags.detach:
		return r.detached(cmd.Context(), ui)
	}
	if r.stay.name != "" {
		return r.named(cmd.Context(), ui)
	}
	defer r.close()
	if err := r.prepare(cmd.Context(), ui); err != nil {
		return err
	}
	r.foreground()
	return r.boot(cmd.Context(), ui, ui.end)
}

// check checks all that can be checked before anything is fetched or booted.
func (r *runner) check(cmd *cobra.Command, args []string) (err error) {
	o := &r.options
	if o.From != "" {
		if err := r.checkFrom(cmd); err != nil {
			return exit.Usage(err)
		}
	}
	if r.args, err = r.image.choose(cmd, args, cmp.Or(o.Rootfs, o.From), r.flags.line); err != nil {
		return exit.Usage(err)
	}
	if alias, ok := archNames[o.Arch]; ok {
		o.Arch = alias
	}
	if o.Init == initDefault {
		o.Init = ""
	}
	if o.Overlay == "tmpfs" {
		o.Overlay, o.Tmpfs = "", true
	}
	if o.Arch != "" && !slices.Contains(vmm.Archs(), o.Arch) {
		return exit.Usage(fmt.Errorf("--arch %q: want %s", o.Arch, strings.Join(vmm.Archs(), " or ")))
	}
	for _, p := range r.puts {
		put, err := machine.ParsePut(p)
		if err != nil {
			return exit.Usage(err)
		}
		o.Puts = append(o.Puts, put)
	}
	if r.platform, o.Arch, err = settlePlatform(r.image.platform, o.Arch); err != nil {
		return exit.Usage(err)
	}
	if err := r.flags.readEnvironment(); err != nil {
		return err
	}
	if dir := r.flags.dir; dir != "" && !strings.HasPrefix(dir, "/") {
		return exit.Usage(fmt.Errorf("--workdir %q: want an absolute path", dir))
	}
	if o.Net, err = vmm.ParseNet(r.network); err != nil {
		return exit.Usage(err)
	}
	if err := r.volumes.check(o); err != nil {
		return exit.Usage(err)
	}
	if err := r.host.check(r); err != nil {
		return exit.Usage(err)
	}
	if err := checkMachine(o); err != nil {
		return exit.Usage(err)
	}
	for _, p := range r.publish {
		forwards, err := forwarding.ParsePublish(p)
		if err != nil {
			return err
		}
		r.forwards = append(r.forwards, forwards...)
	}
	if err := r.stay.check(cmd, r); err != nil {
		return exit.Usage(err)
	}
	if r.flags.stdin && r.flags.tty && !r.flags.detach && r.t.keyboard() == nil {
		return exit.Usage(errNoKeyboard)
	}
	if err := r.setConsole(); err != nil {
		return exit.Usage(err)
	}
	return r.checkCommand()
}

// checkCommand checks the command, and chooses what runs it.
func (r *runner) checkCommand() error {
	r.use = r.t.exec
	switch {
	case r.saved != nil:
		return r.checkFromCommand()
	case r.image.source != nil:
		if err := r.flags.checkLine(r.args); err != nil {
			return err
		}
		_, err := r.flags.command(nil, []string{"checked"})
		return err
	case r.publishAll:
		return exit.Usage(errors.New("-P is for an IMAGE, which is missing"))
	case len(r.args) > 0:
		_, err := r.flags.command(nil, r.args)
		return err
	}
	flag := r.flags.wanted()
	switch { // a workload may start before the files are there
	case len(r.options.Puts) > len(r.puts):
		flag = "--volume with a file"
	case len(r.puts) > 0:
		flag = "--put"
	case len(r.host.hosts) > 0:
		flag = "--add-host"
	}
	if flag != "" && flag != "--detach" {
		return exit.Usage(fmt.Errorf("%s is for a COMMAND, which is missing", flag))
	}
	if o := &r.options; !r.flags.detach && o.Rootfs == "" && len(o.InitArgs)+len(o.Drives) == 0 {
		// The default system has no workload, and nothing names one.
		return exit.Usage(errors.New("run: IMAGE or COMMAND is missing, as in wick run alpine or wick run -- uname"))
	}
	r.use = r.t.workload
	// Before the machine can end, it has a host to tell of that. The last of several words wins.
	r.options.InitArgs = append([]string{"--workload-wait=host"}, r.options.InitArgs...)
	return nil
}

// setConsole sets where the console of the machine goes.
func (r *runner) setConsole() error {
	switch r.console {
	case "":
		return nil
	case consoleText:
		r.options.Console = &output.PrintableWriter{W: r.t.stderr}
	case consoleRaw:
		r.options.Console = r.t.stderr
	default:
		return fmt.Errorf("--console=%s: want %s or %s", r.console, consoleText, consoleRaw)
	}
	r.options.Logger = slog.New(slog.NewTextHandler(r.t.stderr, nil))
	return nil
}

// prepare listens at the published ports, and opens the image.
func (r *runner) prepare(ctx context.Context, ui *runUI) (err error) {
	if r.published, err = forwarding.ListenAll(ctx, r.forwards); err != nil {
		return &exit.Error{Code: exit.Own, Err: err} // nothing ran
	}
	if err := r.openImage(ctx, ui); err != nil {
		return err
	}
	if err := r.volumes.hold(ctx, &r.options); err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	if r.publishAll {
		exposed := slices.DeleteFunc(exposedPorts(r.options.Image), func(fw forwarding.Forward) bool {
			return slices.ContainsFunc(r.forwards, func(given forwarding.Forward) bool { return given.To == fw.To })
		})
		more, err := forwarding.ListenAll(ctx, exposed)
		if err != nil {
			return &exit.Error{Code: exit.Own, Err: err}
		}
		r.forwards, r.published = append(r.forwards, exposed...), append(r.published, more...)
	}
	return nil
}

// openImage opens the image, if there is one, and completes the command by its configuration.
func (r *runner) openImage(ctx context.Context, ui *runUI) (err error) {
	if r.image.source == nil {
		return nil
	}
	r.newDir = r.flags.dir
	if r.options.Image, err = r.image.open(ctx, ui, r.platform); err == nil {
		r.args, err = r.image.configure(&r.flags, r.options.Image, r.args)
	}
	ui.pause()
	if err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	return nil
}

// close ends what prepare opened.
func (r *runner) close() {
	forwarding.CloseAll(r.published)
	r.volumes.close()
}

// boot runs the machine. up is called when it is up.
func (r *runner) boot(ctx context.Context, ui machine.UI, up func()) error {
	var ended error
	r.options.PutTree = r.t.putTree
	r.options.Use = func(ctx context.Context, c *client.Client) error {
		up()
		f := forwarding.NewForwarder(c, false, r.t.stderr)
		defer f.Close()
		r.forwarder = f
		if err := r.serve(ctx, c, f); err != nil {
			return err
		}
		notify("READY=1")
		defer notify("STOPPING=1")
		ended = r.use(ctx, c, &r.flags, r.args)
		if _, lost := errors.AsType[*client.ConnError](ended); lost || errors.Is(ended, machine.ErrUnresponsive) {
			return ended // the machine may know the reason
		}
		ended = r.copyOut(ctx, f.Client(), ended)
		return nil
	}
	err := machine.Run(ctx, r.options, ui)
	up()
	switch {
	case errors.Is(err, machine.ErrUnresponsive):
		return ended
	case err != nil:
		if strings.Contains(err.Error(), "the kernel lacks ") && len(r.options.Volumes) > 0 {
			err = fmt.Errorf("%w; HOST:GUEST:copy gives the guest a copy instead", err)
		}
		return r.t.runFailed(ctx, err, r.console != "")
	}
	return ended
}

// outLimit returns how long files may take to be copied out after a signal.
func (r *runner) outLimit() time.Duration {
	if len(r.volumes.copies) == 0 {
		return 0
	}
	return 15 * time.Second
}

// copyOut copies files out of the guest after the command, which ended so. It returns how wick run
// ends. A command that failed may not have made its files.
func (r *runner) copyOut(ctx context.Context, c *client.Client, ended error) error {
	if ctx.Err() != nil {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.outLimit())
		defer cancel()
		ctx = limit
	}
	for _, o := range r.volumes.copies {
		cp := copying.Copier{Guest: c, Stderr: r.t.stderr}
		err := cp.OutOf(ctx, o.guest, o.local)
		switch {
		case err == nil:
		case ended != nil:
			fmt.Fprintf(r.t.stderr, "wick: --out: %s\n", output.PrintableLines(err.Error()))
		default:
			ended = &exit.Error{Code: exit.Own, Err: fmt.Errorf("--out: %w", err)}
		}
	}
	return ended
}

// serve prepares the guest for the command: its published ports, and its directory.
func (r *runner) serve(ctx context.Context, c *client.Client, f *forwarding.Forwarder) error {
	if len(r.forwards) > 0 {
		if err := c.Require(ctx, framing.FeatureForward); err != nil {
			return fmt.Errorf("-p: %w", err)
		}
	}
	if err := r.host.addHosts(ctx, c); err != nil {
		return err
	}
	if err := r.fillVolumes(ctx, c); err != nil {
		return err
	}
	if r.options.Image != nil {
		r.flags.user = imageUser(ctx, c, r.flags.user)
	}
	if r.newDir != "" {
		if err := makeDir(ctx, c, r.newDir); err != nil {
			return err
		}
	}
	for i := range r.forwards {
		line, err := f.Start(ctx, &r.forwards[i], r.published[i])
		if err != nil {
			return err
		}
		f.Say("published %s", line)
	}
	return nil
}
