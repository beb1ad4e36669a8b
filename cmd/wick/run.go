package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
	"wick/framing"
	"wick/framing/client"
)

// powerOffLimit limits the wait for a power-off after a signal. It is longer than the guest's time
// for it.
const powerOffLimit = 25 * time.Second

// runCommand returns wick run.
func (t *tool) runCommand() *cobra.Command {
	var flags sessionFlags
	var o machine.Options
	var puts []string
	var console, network string
	var im imageFlags
	var publishAll bool
	var publish []string
	cmd := &cobra.Command{
		Use:   "run [flags] [IMAGE | --] [COMMAND [ARG]...]",
		Short: "Boot a microVM, run a command in it, and power it off",
		Long: `Boot a microVM, run a command in it, pass on its output and its exit code, and power
the microVM off.

The first argument is a container IMAGE: a registry's reference such as alpine:3.20,
docker-archive:FILE (the output of docker save) or oci:DIR[:TAG]. It is pulled with the
credentials of docker's configuration, unless it is in the cache; see wick pull. COMMAND
replaces the image's command, and -e, -w, -u and --entrypoint its other settings, as in
docker.

After --, or with --rootfs, all arguments are COMMAND, and there is no image. wick run
alpine runs the image alpine, and wick run -- alpine a command of that name in a small
busybox system. With -c, COMMAND is one line for the shell, and without another argument
it runs in that system too. --rootfs is a directory, a tar or a squashfs. File systems
mounted inside a directory are left out.

vm-init is added to the root image as /sbin/vm-init. The image is never written to: the
guest writes to an overlay disk of its own. The kernel is Debian's cloud kernel, unless
--kernel names one with everything built in. All of them are cached for the next run.

The machine runs on Firecracker if it is installed and KVM works, otherwise on QEMU, with
KVM or emulated. A machine of another architecture (--arch) is always emulated, and needs
a vm-init of that architecture.

-p 8080:80 publishes port 80 of the guest as 127.0.0.1:8080, over the connection to the
agent. The guest needs no network device for it, so the published port is the only way to
reach the guest. -p may be repeated and takes the forms of wick forward, such as
0.0.0.0:8080:80 and 8080:unix:/run/app.sock. -P publishes each TCP port that the image
exposes, at a free port that is printed.

Without --net the guest has no network interface: wick reaches it over vsock. With
--net user it reaches what this host reaches, without root, except the host's own
loopback. --net user,host-loopback adds that, at 10.0.2.2. Both need QEMU. --net tap=NAME
uses an existing tap device; the fields of wick net set may follow:
--net tap=tap0,addr=172.16.0.2/24,gw=172.16.0.1.

-i and -t are as for wick exec, and so is COMMAND without an IMAGE: wick run -it -- sh is a
shell in a new machine.
The exit code is the command's, or 125 if the machine could not be built, booted or
reached.

Without IMAGE and COMMAND the machine's own workload is awaited, which /etc/vm-init.conf of the root
image names, or --init-arg=--workload=PROGRAM. Its output and exit code are passed on.`,
		Example: `  wick run -it alpine
  wick run -e NAME=you python:3-slim python -c 'import os; print(os.environ["NAME"])'
  wick run -- uname -a
  wick run -it -- sh
  wick run --rootfs ./rootfs --mem 256 -- /srv/selftest
  wick run --put ./app:/srv/app -- /srv/app --version
  wick run --net user -- wget -O- http://example.org/
  wick run -p 8080:80 -- httpd -f -p 80
  wick run --console --kernel vmlinux -c 'dmesg | tail -n 3'
  wick run --init-arg=--workload=/bin/date`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := im.choose(cmd, args, o.Rootfs, flags.line)
			if err != nil {
				return usageError(err)
			}
			if o.Arch != "" && !slices.Contains(vmm.Archs(), o.Arch) {
				return usageError(fmt.Errorf("--arch %q: want %s", o.Arch, strings.Join(vmm.Archs(), " or ")))
			}
			for _, p := range puts {
				put, err := machine.ParsePut(p)
				if err != nil {
					return usageError(err)
				}
				o.Puts = append(o.Puts, put)
			}
			platform, arch, err := settlePlatform(im.platform, o.Arch)
			if err != nil {
				return usageError(err)
			}
			o.Arch = arch
			flags.env = hostEnv(flags.env)
			if o.Net, err = vmm.ParseNet(network); err != nil {
				return usageError(err)
			}
			if err := checkMachine(&o); err != nil {
				return usageError(err)
			}
			var forwards []forward
			for _, p := range publish {
				fw, err := parseForward(p, defaultBind, false)
				if err != nil {
					return err
				}
				forwards = append(forwards, fw)
			}
			t.unwind.Store(int64(powerOffLimit))
			// A closed stdout or stderr must not end the machine without order. SIGPIPE is caught
			// rather than ignored, because child processes would inherit that it is ignored.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			if flags.stdin && flags.tty && !flags.detach && t.keyboard() == nil {
				return usageError(errNoKeyboard)
			}
			use := t.exec
			if publishAll && im.source == nil {
				return usageError(errors.New("-P is for an IMAGE, which is missing"))
			}
			if im.source != nil {
				err := flags.checkLine(args)
				if err == nil {
					_, err = flags.command(nil, []string{"checked"})
				}
				if err != nil {
					return err // before pulling an image
				}
			} else if len(args) == 0 {
				flag := flags.wanted()
				if len(puts) > 0 {
					flag = "--put" // a workload may start before the files are there
				}
				if flag != "" {
					return usageError(fmt.Errorf("%s is for a COMMAND, which is missing", flag))
				}
				use = t.workload
				// Before the machine can end, it has a host to tell of that.
				o.InitArgs = append(o.InitArgs, "--workload-wait=host")
			} else if _, err := flags.command(nil, args); err != nil {
				return err // before booting a machine
			}
			published, err := listenAll(cmd.Context(), forwards)
			if err != nil {
				return &exitError{code: exitOwn, err: err} // nothing ran
			}
			defer closeAll(published)
			ui := &runUI{w: t.stderr, live: isTerminal(t.stderr) && console == ""}
			switch console {
			case "":
			case consoleText:
				o.Console = &printableWriter{w: t.stderr}
			case consoleRaw:
				o.Console = t.stderr
			default:
				return usageError(fmt.Errorf("--console=%s: want %s or %s", console, consoleText, consoleRaw))
			}
			if console != "" {
				o.Logger = slog.New(slog.NewTextHandler(t.stderr, nil))
			}
			o.PutTree = t.putTree
			newDir := "" // the directory that the image does not have
			if im.source != nil {
				newDir = flags.dir
				if o.Image, err = im.open(cmd.Context(), ui, platform); err == nil {
					args, err = im.configure(&flags, o.Image, args)
				}
				ui.pause()
				if err != nil {
					return &exitError{code: exitOwn, err: err}
				}
			}
			if publishAll {
				exposed := exposedPorts(o.Image)
				more, err := listenAll(cmd.Context(), exposed)
				if err != nil {
					return &exitError{code: exitOwn, err: err}
				}
				defer closeAll(more)
				forwards, published = append(forwards, exposed...), append(published, more...)
			}
			var ended error
			o.Use = func(ctx context.Context, c *client.Client) error {
				ui.end()
				if len(forwards) > 0 {
					if err := c.Require(ctx, framing.FeatureForward); err != nil {
						return fmt.Errorf("-p: %w", err)
					}
				}
				if newDir != "" {
					if err := makeDir(ctx, c, newDir); err != nil {
						return err
					}
				}
				f := newForwarder(c, false, t.stderr)
				defer f.close()
				for i := range forwards {
					line, err := f.start(ctx, &forwards[i], published[i])
					if err != nil {
						return err
					}
					f.say("published %s", line)
				}
				ended = use(ctx, c, &flags, args)
				if _, lost := errors.AsType[*client.ConnError](ended); lost || errors.Is(ended, machine.ErrUnresponsive) {
					return ended // the machine may know the reason
				}
				return nil
			}
			err = machine.Run(cmd.Context(), o, ui)
			ui.end()
			if errors.Is(err, machine.ErrUnresponsive) {
				return ended
			}
			if err != nil {
				return t.runFailed(cmd.Context(), err, console != "")
			}
			return ended
		},
	}
	f := cmd.Flags()
	flags.add(cmd)
	f.SetNormalizeFunc(dockerNames)
	im.add(cmd)
	f.StringVar(&o.Rootfs, "rootfs", "", "root image: a `DIR`, a tar, or a squashfs")
	f.StringVar(&o.Arch, "arch", "", "`ARCH` of the machine, amd64 or arm64 (default: the host's)")
	f.StringVar(&o.Kernel, "kernel", "", "kernel `FILE` with virtio, squashfs, overlay, ext4 and vsock built in")
	f.StringArrayVar(&o.Modules, "module", nil, "load another `MODULE` of Debian's kernel, such as vsock_loopback; may be repeated")
	f.IntVar(&o.MemoryMiB, "mem", 128, "memory in `MiB`")
	f.IntVar(&o.CPUs, "cpus", 1, "processors")
	f.StringVar(&o.Overlay, "overlay", "", "use and keep this overlay disk: a `FILE` with an ext4")
	f.IntVar(&o.OverlayMiB, "overlay-size", 0, "size in `MiB` of the overlay disk made for this run (default 512)")
	f.BoolVar(&o.Tmpfs, "tmpfs", false, "use the guest's memory instead of an overlay disk")
	f.StringVar(&network, "net", "none", "`NETWORK` of the guest: none, user, user,host-loopback, or tap=NAME[,FIELD]...")
	f.StringArrayVar(&puts, "put", nil, "copy a file or a directory into the guest first: `LOCAL:GUEST`; may be repeated")
	f.StringArrayVarP(&publish, "publish", "p", nil, "publish a port of the guest: `HOST:GUEST`, such as 8080:80; may be repeated")
	f.BoolVarP(&publishAll, "publish-all", "P", false, "publish each TCP port that the image exposes, at any free port")
	f.BoolVar(&o.Keep, "keep", false, "keep the overlay disk and the console's log, and print where")
	f.StringVar(&console, "console", "", "show the guest's console on stderr, with ? for terminal controls; =raw: unfiltered")
	f.Lookup("console").NoOptDefVal = consoleText
	f.StringVar(&o.VMM, "vmm", "", "force `NAME`: firecracker, qemu-vhost or qemu")
	f.DurationVar(&o.BootLimit, "boot-timeout", 60*time.Second, "how long to wait until the guest is ready")
	f.StringVar(&o.Init, "init", "", "vm-init `FILE` (default: beside wick, or in the PATH)")
	f.StringArrayVar(&o.InitArgs, "init-arg", nil, "`ARG` for vm-init, such as --log-level=debug; may be repeated")
	cmd.RegisterFlagCompletionFunc("publish", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions(vmm.Archs(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("net", cobra.FixedCompletions([]string{"none", "user", "user,host-loopback", "tap="}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("vmm", cobra.FixedCompletions([]string{vmm.Firecracker, vmm.QEMUVhost, vmm.QEMU}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// workload takes over the program that the machine runs by itself.
func (t *tool) workload(ctx context.Context, c *client.Client, flags *sessionFlags, _ []string) error {
	return t.within(ctx, c, flags.timeout, func(ctx context.Context) error {
		hello, err := c.Hello(ctx)
		if err != nil {
			return err
		}
		if _, ok := hello.Fact("workload.state"); !ok {
			return commandFailed(errors.New("COMMAND is missing, and the machine has no workload"))
		}
		if hello.Features&framing.FeatureServices != 0 {
			err = awaitService(ctx, c, framing.WorkloadName, func(s *client.Service) (bool, error) {
				return s.State != "waiting", nil // for services that it is started after
			})
			if err != nil {
				return err
			}
		}
		err = t.attach(ctx, c, &client.Process{ID: framing.WorkloadID}, attachOptions{kill: true})
		if failed, ok := errors.AsType[*client.OpError](err); ok && failed.Errno == syscall.ESRCH {
			return t.notStarted(ctx, c, err)
		}
		return err
	})
}

// notStarted returns the error of a workload that was not started.
func (t *tool) notStarted(ctx context.Context, c *client.Client, err error) error {
	hello, again := c.Hello(ctx)
	if again != nil {
		return again
	}
	reason, ok := hello.Fact("workload.error")
	if !ok {
		return commandFailed(err)
	}
	text, _ := hello.Fact("workload.code")
	code, _ := strconv.Atoi(text)
	return &exitError{code: failure(code), err: errors.New("workload not started: " + reason)}
}

// The values of --console.
const (
	consoleText = "text"
	consoleRaw  = "raw"
)

// checkMachine refuses impossible options, and those that would have no effect.
func checkMachine(o *machine.Options) error {
	switch {
	case o.MemoryMiB < 1:
		return fmt.Errorf("--mem %d: want a number of MiB above 0", o.MemoryMiB)
	case o.CPUs < 1:
		return fmt.Errorf("--cpus %d: want a number above 0", o.CPUs)
	case o.OverlayMiB < 0:
		return fmt.Errorf("--overlay-size %d: want a number of MiB above 0", o.OverlayMiB)
	case o.Kernel != "" && len(o.Modules) > 0:
		return errors.New("--module needs Debian's kernel; a --kernel has everything built in")
	case o.BootLimit <= 0:
		return fmt.Errorf("--boot-timeout %v: want a time above 0", o.BootLimit)
	case o.Tmpfs && (o.Overlay != "" || o.OverlayMiB != 0):
		return errors.New("--tmpfs replaces the overlay disk; leave --overlay and --overlay-size out")
	case o.Overlay != "" && o.OverlayMiB != 0:
		return errors.New("--overlay-size is for a new disk, and --overlay names an existing one; leave one of them out")
	}
	for _, arg := range o.InitArgs {
		if strings.ContainsFunc(arg, unicode.IsSpace) {
			return fmt.Errorf("--init-arg %q: arguments travel on the kernel command line and cannot contain spaces", arg)
		}
	}
	return nil
}

// runFailed returns the error of a machine that did not run the command. It prints the last lines
// of the console if the machine failed to boot or ended.
func (t *tool) runFailed(ctx context.Context, err error, shown bool) error {
	if ctx.Err() != nil {
		return err
	}
	if boot, ok := errors.AsType[*machine.BootError](err); ok {
		if _, failed := errors.AsType[*machine.MonitorError](err); !failed || len(boot.Console) > 0 {
			t.lastWords(boot.Console, shown)
		}
	} else if end, ok := errors.AsType[*machine.EndError](err); ok {
		t.lastWords(end.Console, shown)
	}
	return &exitError{code: exitOwn, err: err}
}

// lastWords prints the last lines of a machine's console. shown says that --console has shown them
// before.
func (t *tool) lastWords(lines []string, shown bool) {
	switch {
	case len(lines) == 0 && shown:
		fmt.Fprintln(t.stderr, "--- the console is empty")
		return
	case len(lines) == 0:
		fmt.Fprintln(t.stderr, "--- the console is empty; --console makes the kernel print everything")
		return
	}
	fmt.Fprintln(t.stderr, "--- the console's last lines")
	for _, line := range lines {
		fmt.Fprintln(t.stderr, printableLines(line))
	}
	fmt.Fprintln(t.stderr, "---")
}
