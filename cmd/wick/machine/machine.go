package machine

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"wick/cmd/wick/internal/cache"
	engine "wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/oci"
	"wick/framing/client"
)

// Machine is a booted machine. Its methods may be called from any goroutine. The caller must call
// Stop or Kill, or wait for Done.
type Machine struct {
	guest *engine.Guest
	image *oci.Image
	done  chan struct{} // closed when everything of the machine is removed
}

// Boot boots a machine, and returns when the guest is ready. Before that it fetches and converts
// what c names and the cache lacks, which may take minutes. ctx limits all of it, and not the
// machine's life.
//
// The error is a [*ConfigError] if c contradicts itself, and a [*BackendError] if this host
// cannot run the machine. It is a [*BootError] if the machine did not come up. Others are from
// the making of images, and the context's. After an error nothing of the machine is left.
func Boot(ctx context.Context, c Config) (*Machine, error) {
	o, err := c.engine()
	if err != nil {
		return nil, err
	}
	if c.Image != "" {
		progress(c.Progress).Event(engine.Event{Stage: engine.Building, Detail: "image " + c.Image})
		if o.Image, err = c.open(ctx); err != nil {
			return nil, err
		}
	}
	guest, err := engine.Boot(ctx, o, progress(c.Progress))
	if err != nil {
		return nil, err
	}
	m := &Machine{guest: guest, image: o.Image, done: make(chan struct{})}
	go func() {
		<-guest.Done()
		guest.Close()
		close(m.done)
	}()
	return m, nil
}

// open opens the container image.
func (c *Config) open(ctx context.Context) (*oci.Image, error) {
	source, err := oci.ParseSource(c.Image)
	if err != nil {
		return nil, &ConfigError{err.Error()}
	}
	dir := cache.Dir(c.CacheDir)
	if dir == "" {
		if dir, err = cache.Default(); err != nil {
			return nil, err
		}
	}
	platform := v1.Platform{OS: "linux", Architecture: cmp.Or(c.Arch, runtime.GOARCH)}
	store := &oci.Store{Dir: dir}
	return store.Open(ctx, source, platform, oci.Policy(cmp.Or(c.Pull, PullMissing)))
}

// progress is the UI that calls a function.
type progress func(text string)

// Event implements the UI of package engine.
func (p progress) Event(e engine.Event) {
	if p == nil {
		return
	}
	switch e.Stage {
	case engine.Building:
		p("getting the " + e.Detail)
	case engine.Booting:
		p("booting (" + e.Detail + ")")
	case engine.Ready:
		p(fmt.Sprintf("ready in %v", e.Took))
	case engine.Noted, engine.Notice:
		p(e.Detail)
	}
}

// Client returns the connection to the guest's agent. It is the machine's: it ends with the
// machine, and the caller does not close it.
func (m *Machine) Client() *client.Client { return m.guest.Client }

// Addr returns the address of the guest's agent for [client.Dial], such as for a connection after
// the restore of a snapshot. With Firecracker and QEMU's own vsock device it is a listening form:
// the guest connects once its last connection is gone.
func (m *Machine) Addr() string { return m.guest.Addr() }

// Command returns a command of the guest. A machine made from an image has the environment, user
// and working directory of the image's configuration. Its entrypoint precedes args. Without args
// it is the image's own command.
//
// A machine without an image has no command of its own, so args begin with the program.
func (m *Machine) Command(args ...string) *client.Cmd {
	if m.image == nil {
		if len(args) == 0 {
			args = []string{""} // its start reports that
		}
		return m.Client().Command(args[0], args[1:]...)
	}
	c := &m.image.Config.Config
	if len(args) == 0 {
		args = c.Cmd
	}
	words := slices.Concat(c.Entrypoint, args)
	if len(words) == 0 {
		words = []string{""}
	}
	cmd := m.Client().Command(words[0], words[1:]...)
	// A later entry of the same name wins.
	cmd.Env = append([]string{dockerPath}, c.Env...)
	cmd.User, cmd.Dir = c.User, c.WorkingDir
	return cmd
}

// dockerPath is the PATH of an image that sets none, as docker has it.
const dockerPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Stop shuts the guest down in order. Its programs get SIGTERM and time, and its disks are
// written. When ctx ends, or after 22 s, the machine is killed. When Stop returns, nothing of the
// machine is left.
//
// It returns an error if the machine had to be killed, ended by a panic, or reports an unclean
// disk. A machine that has ended already is no error.
func (m *Machine) Stop(ctx context.Context) error {
	defer func() { <-m.done }()
	if m.ended() {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, engine.DownLimit)
	defer cancel()
	return m.guest.PowerOff(limit, m.guest.Client)
}

// ended reports whether the machine has ended.
func (m *Machine) ended() bool {
	select {
	case <-m.guest.Done():
		return true
	default:
		return false
	}
}

// Kill ends the machine like a power failure. When it returns, nothing of the machine is left. It
// is idempotent, so it can be deferred beside Stop.
func (m *Machine) Kill() {
	m.guest.Kill()
	<-m.done
}

// Done is closed when the machine has ended and nothing of it is left.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Exit says how a machine ended. If all fields are zero the guest went down by itself, or Stop
// ended it in order.
type Exit struct {
	// Killed says that it was killed.
	Killed bool
	// Panic is the reason of a panic of the guest's kernel, or "".
	Panic string
	// Err is the error of a monitor that failed, a [*MonitorError], or nil.
	Err error
}

// String says it in words, such as "kernel panic: Out of memory".
func (e Exit) String() string { return engine.Exit(e).String() }

// Wait waits for the end of the machine. Its error is ctx's.
func (m *Machine) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-m.done:
		return Exit(m.guest.Exit()), nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for the machine's end: %w", ctx.Err())
	}
}

// Pause stops the machine's processors until Unpause. Requests wait meanwhile, and the guest's
// clock falls behind. Under Firecracker it stops the monitor's process.
func (m *Machine) Pause(ctx context.Context) error { return m.guest.Pause(ctx) }

// Unpause lets the processors of a paused machine go on.
func (m *Machine) Unpause(ctx context.Context) error { return m.guest.Unpause(ctx) }

// Console returns the last n lines of the serial port, or all kept lines if n is 0. The last 64
// KiB are kept. It may contain anything, also control sequences of a terminal.
func (m *Machine) Console(n int) []string { return m.guest.ConsoleTail(n) }

// VMM returns the monitor that runs the machine: firecracker, qemu-vhost or qemu.
func (m *Machine) VMM() string { return m.guest.Backend() }

// UDS returns the path of the Unix socket of the machine's vsock device, with Firecracker's
// conventions: the guest's connection to port N arrives at UDS_N. It is "" with the kernel's vsock
// device. The socket ends with the machine.
func (m *Machine) UDS() string {
	if strings.HasPrefix(m.Addr(), "vsock:") {
		return ""
	}
	return m.guest.UDS()
}

// PID returns the process ID of the monitor. It is valid until Done is closed.
func (m *Machine) PID() int { return m.guest.PID() }

// WaitPort waits until a program of the guest listens at a TCP port, at any address. A program
// that listens there can be reached by [client.Client.DialContext].
//
// The error is ctx's, or as for [client.Client.WatchPorts].
func (m *Machine) WaitPort(ctx context.Context, port uint16) error {
	for ports, err := range m.Client().WatchPorts(ctx) {
		if err != nil {
			return fmt.Errorf("wait for port %d: %w", port, err)
		}
		if slices.ContainsFunc(ports, func(p client.Port) bool { return p.Addr.Port() == port }) {
			return nil
		}
	}
	return fmt.Errorf("wait for port %d: %w", port, ctx.Err())
}
