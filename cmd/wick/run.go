package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// powerOffLimit is how long a signal waits for a machine to be powered off: longer than the guest is given.
const powerOffLimit = 15 * time.Second

// runCommand is "wick run".
func (t *tool) runCommand() *cobra.Command {
	var flags sessionFlags
	var o machine.Options
	var puts []string
	var console string
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG]...",
		Short: "Boot a microVM, run a command in it, and power it off",
		Long: `Boot a microVM, run a command in it, pass on its output and its exit code, and power
the microVM off.

The root image is made from --rootfs (a directory, a tar, or a squashfs) with vm-init
put in as /sbin/vm-init; without it there is a small system made of busybox. An archive of
docker save or an OCI layout is no root: give what docker export writes. File systems
mounted inside a directory are left out. Nothing is written to the image: what the guest writes
goes to an overlay disk of its own. The kernel is Debian's cloud kernel unless --kernel
names one with everything built in. Images are kept in the cache for the next run.

It runs on Firecracker where that is installed and KVM works, else on QEMU, with KVM if
it works and emulated if not. A machine of another architecture (--arch) is always
emulated, and needs a vm-init for it.

COMMAND is taken as by wick exec, and -i and -t are as there: wick run -it -- sh is a shell
in a machine of its own. The exit code is the command's; 125 if the machine could not be
built, booted or reached.`,
		Example: `  wick run -- uname -a
  wick run -it -- sh
  wick run --rootfs ./rootfs --mem 256 -- /srv/selftest
  wick run --put ./app:/srv/app -- /srv/app --version
  wick run --console --kernel vmlinux -- 'dmesg | tail -n 3'`,
		Args:              needs("COMMAND..."),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Arch != "" && !slices.Contains(vmm.Archs(), o.Arch) {
				return &exitError{code: exitUsage, err: fmt.Errorf("--arch %q: want %s", o.Arch, strings.Join(vmm.Archs(), " or "))}
			}
			for _, p := range puts {
				put, err := machine.ParsePut(p)
				if err != nil {
					return &exitError{code: exitUsage, err: err}
				}
				o.Puts = append(o.Puts, put)
			}
			if err := checkMachine(&o); err != nil {
				return usageError(err)
			}
			t.unwind.Store(int64(powerOffLimit))
			// Somebody who looks no longer at what is shown is no reason for a machine to end without order. The programs that are run for it are
			// to know nothing of that, so the signal is caught and not ignored.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			if flags.stdin && flags.tty && !flags.detach && t.keyboard() == nil {
				return usageError(errNoKeyboard)
			}
			if _, err := flags.command(nil, args); err != nil {
				return err // before a machine is booted in vain
			}
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
			var ended error
			o.Use = func(ctx context.Context, c *client.Client) error {
				ui.end()
				ended = t.exec(ctx, c, &flags, args)
				if _, lost := errors.AsType[*client.ConnError](ended); lost || errors.Is(ended, machine.ErrUnresponsive) {
					return ended // of which the machine may know the reason
				}
				return nil
			}
			err := machine.Run(cmd.Context(), o, ui)
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
	f.StringVar(&o.Rootfs, "rootfs", "", "root image: a `DIR`, a tar, or a squashfs")
	f.StringVar(&o.Arch, "arch", "", "`ARCH` of the machine, amd64 or arm64 (default: the host's)")
	f.StringVar(&o.Kernel, "kernel", "", "kernel `FILE` with virtio, squashfs, overlay, ext4 and vsock built in")
	f.StringArrayVar(&o.Modules, "module", nil, "load another kernel `MODULE` of Debian's, as vsock_loopback; may be repeated")
	f.IntVar(&o.MemoryMiB, "mem", 128, "memory in `MiB`")
	f.IntVar(&o.CPUs, "cpus", 1, "processors")
	f.StringVar(&o.Overlay, "overlay", "", "overlay disk to use and to leave: a `FILE` with an ext4")
	f.IntVar(&o.OverlayMiB, "overlay-size", 0, "size in `MiB` of the overlay disk made for this run (default 512)")
	f.BoolVar(&o.Tmpfs, "tmpfs", false, "keep what the guest writes in its memory")
	f.StringArrayVar(&puts, "put", nil, "copy a file or a directory into the guest first: `LOCAL:GUEST`; may be repeated")
	f.BoolVar(&o.Keep, "keep", false, "leave the overlay disk and the console's log, and say where")
	f.StringVar(&console, "console", "", "show the guest's console on stderr, with ? for what would act on a terminal; =raw: as it is")
	f.Lookup("console").NoOptDefVal = consoleText
	f.StringVar(&o.VMM, "vmm", "", "force `NAME`: firecracker, qemu-vhost or qemu")
	f.DurationVar(&o.BootLimit, "boot-timeout", 60*time.Second, "how long the guest may take to be ready")
	f.StringVar(&o.Init, "init", "", "vm-init `FILE` (default: beside wick, or in the PATH)")
	f.StringArrayVar(&o.InitArgs, "init-arg", nil, "`ARG` for vm-init, as --log-level=debug; may be repeated")
	cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions(vmm.Archs(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("vmm", cobra.FixedCompletions([]string{vmm.Firecracker, vmm.QEMUVhost, vmm.QEMU}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// The ways to show a console.
const (
	consoleText = "text"
	consoleRaw  = "raw"
)

// checkMachine refuses what no machine can be, or what would be passed over in silence.
func checkMachine(o *machine.Options) error {
	switch {
	case o.MemoryMiB < 1:
		return fmt.Errorf("--mem %d: want a number of MiB above 0", o.MemoryMiB)
	case o.CPUs < 1:
		return fmt.Errorf("--cpus %d: want a number above 0", o.CPUs)
	case o.OverlayMiB < 0:
		return fmt.Errorf("--overlay-size %d: want a number of MiB above 0", o.OverlayMiB)
	case o.Kernel != "" && len(o.Modules) > 0:
		return errors.New("--module is for Debian's kernel; one given with --kernel has everything built in")
	case o.BootLimit <= 0:
		return fmt.Errorf("--boot-timeout %v: want a time above 0", o.BootLimit)
	case o.Tmpfs && (o.Overlay != "" || o.OverlayMiB != 0):
		return errors.New("--tmpfs is in the place of an overlay disk; leave --overlay and --overlay-size out")
	case o.Overlay != "" && o.OverlayMiB != 0:
		return errors.New("--overlay-size is for a disk that is made for this run, and --overlay one that is there")
	}
	for _, arg := range o.InitArgs {
		if strings.ContainsFunc(arg, unicode.IsSpace) {
			return fmt.Errorf("--init-arg %q: it goes by the kernel's command line, and there a blank ends an argument", arg)
		}
	}
	return nil
}

// runFailed words what kept the command from running: a boot that failed with what the machine said last.
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
	return &exitError{code: exitTransport, err: err}
}

// lastWords shows the last lines of a machine's console, which the user has been shown all along or not.
func (t *tool) lastWords(lines []string, shown bool) {
	switch {
	case len(lines) == 0 && shown:
		fmt.Fprintln(t.stderr, "--- the console is empty")
		return
	case len(lines) == 0:
		fmt.Fprintln(t.stderr, "--- the console is empty; --console has the kernel say all that it does")
		return
	}
	fmt.Fprintln(t.stderr, "--- the console's last lines")
	for _, line := range lines {
		fmt.Fprintln(t.stderr, printableLines(line))
	}
	fmt.Fprintln(t.stderr, "---")
}

// runUI shows on a terminal how far a run has come, in one line that goes when the command's output comes.
type runUI struct {
	w io.Writer

	mu   sync.Mutex
	live bool
}

// say shows what stays to be read. u.mu is held.
func (u *runUI) say(text string) {
	u.erase()
	end := "\n"
	if isTerminal(u.w) {
		end = "\r\n" // it may be in raw mode, with a command on it
	}
	fmt.Fprintf(u.w, "wick: %s%s", printableLines(text), end)
}

// Event implements [machine.UI].
func (u *runUI) Event(e machine.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch e.Stage {
	case machine.Kept:
		u.say("kept in " + e.Detail)
		return
	case machine.Noted:
		u.say("--rootfs: " + e.Detail)
		return
	case machine.Killed:
		u.say("the machine did not go down in order: " + e.Detail)
		return
	case machine.Notice:
		u.say(e.Detail)
		return
	}
	if !u.live {
		return
	}
	text := ""
	switch e.Stage {
	case machine.Building:
		text = "building the " + e.Detail
	case machine.Booting:
		text = "booting (" + e.Detail + ")"
	case machine.Ready:
		text = fmt.Sprintf("ready in %d ms", e.Took.Milliseconds())
	case machine.PoweringOff:
		text = "powering off"
	}
	fmt.Fprintf(u.w, "\r\x1b[K%s ...", text)
}

// end takes the line away for good: the terminal is the command's now.
func (u *runUI) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	u.live = false
}

// erase takes the line away. u.mu is held.
func (u *runUI) erase() {
	if u.live {
		io.WriteString(u.w, "\r\x1b[K")
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
