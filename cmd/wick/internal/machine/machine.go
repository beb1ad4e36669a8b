package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/usernet"
	"wick/cmd/wick/internal/vhostvsock"
	"wick/cmd/wick/internal/vmm"
)

// consoleKept is how many bytes of the console are kept in memory.
const consoleKept = 64 << 10

// Config describes a machine to start.
type Config struct {
	Spec vmm.Spec
	// Choice is the backend. See [vmm.Host.Choose].
	Choice vmm.Choice
	// Dir is the directory for its sockets, at most 80 bytes long. It must have no files of the
	// same names. Machine removes the files that it makes.
	Dir string
	// NetNS is the path of the monitor's network namespace, or "" for ours.
	NetNS string
	// Console, if not nil, gets all output of the machine's serial port.
	Console io.Writer
	// Logger, if not nil, gets the errors of the vsock device.
	Logger *slog.Logger
	// Saved, if not nil, is the state with which the machine goes on.
	Saved *SavedState
	// Notice, if not nil, gets each text that a user should know about the machine, once. It is
	// called from any goroutine.
	Notice func(text string)
}

// Machine is a started machine. Its methods may be called from any goroutine.
type Machine struct {
	config  Config
	console *vmm.Tail
	stderr  *vmm.Tail
	process *process
	qmp     *vmm.QMP            // of QEMU
	api     *vmm.FirecrackerAPI // of Firecracker
	device  *vhostvsock.Device
	network *usernet.Network // the host's side of --net user, or nil
	// fileServers are the virtiofsd of shared directories.
	fileServers []*process

	files  []string
	served chan struct{} // closed when the device's loop has ended
	clean  sync.Once
	done   chan struct{} // closed when the machine has ended and everything of it is removed
	exit   Exit          // set before done is closed
	killed sync.Once
	kill   chan struct{} // closed by Kill
	saved  atomic.Bool   // whether Save was called
	failed [8]sync.Once  // whether a failure of the drive was reported
}

// Start starts a machine and returns as soon as its monitor runs. ctx limits the start and not the
// machine. The caller must call Kill or wait for Done, or the machine leaves something behind.
func Start(ctx context.Context, c Config) (*Machine, error) {
	m := &Machine{
		config:  c,
		console: vmm.NewTail(consoleKept, c.Console),
		stderr:  vmm.NewTail(consoleKept, nil),
		done:    make(chan struct{}), kill: make(chan struct{}),
	}
	cmd, inherited, err := m.prepare()
	if err == nil {
		m.process, err = start(cmd, c.NetNS)
	}
	for _, f := range inherited {
		f.Close() // the monitor has its own
	}
	if err != nil {
		m.cleanup()
		return nil, fmt.Errorf("start %s: %w", c.Choice.Backend, err)
	}
	if m.device != nil {
		m.served = make(chan struct{})
		go func() {
			defer close(m.served)
			m.device.Serve(context.Background()) // until QEMU leaves or Close
		}()
	}
	go m.wait()
	for _, p := range m.fileServers {
		go m.needFileServer(p)
	}
	if m.qmp != nil || c.Saved != nil {
		err := m.begin(ctx)
		if err != nil {
			// The monitor is probably exiting, and then reports why.
			select {
			case <-m.done:
			case <-time.After(outputDelay):
			case <-ctx.Done():
			}
			if exit := m.Kill(); exit.Err != nil {
				err = exit.Err
			}
			return nil, &BootError{fmt.Errorf("start %s: %w", c.Choice.Backend, err), m.lastWords()}
		}
	}
	return m, nil
}

// begin begins to speak with the monitor, and has it load the saved state, if there is one.
func (m *Machine) begin(ctx context.Context) error {
	if m.qmp != nil {
		if err := m.qmp.Start(ctx); err != nil {
			return err
		}
	}
	if m.config.Saved == nil {
		return nil
	}
	return m.resume(ctx)
}

// prepare makes the monitor's command and what it needs: a configuration, sockets, a vsock device.
// Only the monitor uses the inherited files.
func (m *Machine) prepare() (cmd *exec.Cmd, inherited []*os.File, err error) {
	c := &m.config
	if c.Choice.Backend == vmm.Firecracker {
		if cmd, err = m.firecracker(); err != nil {
			return nil, nil, err
		}
	} else {
		run := vmm.QEMURun{KVM: c.Choice.KVM, TSCkHz: c.Choice.TSCkHz, Incoming: c.Saved != nil}
		inherit := func(f *os.File) int {
			inherited = append(inherited, f)
			return 2 + len(inherited) // as exec.Cmd numbers them
		}
		ours, theirs, err := connectionPair()
		if err != nil {
			return nil, nil, err
		}
		m.qmp, run.QMPFD = vmm.NewQMP(ours, m.driveFailed), inherit(theirs)
		if err := m.prepareVsock(&run, inherit); err != nil {
			return nil, inherited, err
		}
		if err := m.serveFiles(); err != nil {
			return nil, inherited, err
		}
		if n := c.Spec.Net; n != nil && n.Tap == "" {
			ours, theirs, err := connectionPair()
			if err != nil {
				return nil, inherited, err
			}
			run.NetFD = inherit(theirs)
			if m.network, err = usernet.New(ours, n.HostLoopback); err != nil {
				return nil, inherited, err
			}
		}
		cmd = exec.Command(c.Choice.Program, vmm.QEMUArgs(&c.Spec, run)...)
		cmd.ExtraFiles = inherited
	}
	cmd.Stdout, cmd.Stderr = m.console, m.stderr
	return cmd, inherited, nil
}

// firecracker returns the command of a Firecracker. It runs in the machine's directory, and knows
// the disks and the socket by their names there.
func (m *Machine) firecracker() (*exec.Cmd, error) {
	c := &m.config
	api := c.file(vmm.FirecrackerSocket)
	m.files = append(m.files, api, m.UDS())
	inside, links, err := c.Spec.Inside(c.Dir)
	if err != nil {
		return nil, err
	}
	for link, to := range links {
		m.files = append(m.files, link)
		if err := os.Symlink(to, link); err != nil {
			return nil, err
		}
	}
	file := ""
	if c.Saved == nil {
		config, err := vmm.FirecrackerConfig(&inside, vmm.FirecrackerVsock)
		if err != nil {
			return nil, err
		}
		file = c.file("firecracker.json")
		m.files = append(m.files, file)
		if err := writeNew(file, config); err != nil {
			return nil, err
		}
	}
	m.api = vmm.NewFirecrackerAPI(api, m.done)
	cmd := exec.Command(c.Choice.Program, vmm.FirecrackerArgs(api, file)...)
	cmd.Dir = c.Dir
	return cmd, nil
}

func (m *Machine) prepareVsock(run *vmm.QEMURun, inherit func(*os.File) int) error {
	spec := &m.config.Spec
	switch {
	case spec.NoVsock:
		return nil
	case m.config.Choice.Backend == vmm.QEMUVhost:
		f, cid, err := vmm.FreeCID()
		if err != nil {
			return err
		}
		spec.CID, run.VhostFD = cid, inherit(f)
		return nil
	}
	if spec.CID == 0 {
		spec.CID = 3 // each device is alone on its Unix socket, so all may have it
	}
	run.VhostSocket = m.config.file("vhost.sock")
	device, err := vhostvsock.New(vhostvsock.Config{
		VhostSocket: run.VhostSocket, UDS: m.UDS(), GuestCID: uint64(spec.CID),
		Logger: m.config.Logger,
	})
	m.device = device
	return err
}

// driveFailed reports once for a drive, named "disk" and its number, that the host cannot read or
// write it.
func (m *Machine) driveFailed(name, reason string) {
	i, err := strconv.Atoi(strings.TrimPrefix(name, "disk"))
	drives := m.config.Spec.Drives
	if err != nil || i < 0 || i >= min(len(drives), len(m.failed)) || m.config.Notice == nil {
		return
	}
	m.failed[i].Do(func() {
		reason := strings.ToLower(reason[:min(1, len(reason))]) + reason[min(1, len(reason)):]
		const text = "disk /dev/vd%c: %s: %s; the guest gets an I/O error"
		m.config.Notice(fmt.Sprintf(text, 'a'+i, drives[i].Path, reason))
	})
}

func (c *Config) file(name string) string { return filepath.Join(c.Dir, name) }

// writeNew writes a file that must not exist.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// connectionPair makes a connection with QEMU. It needs no file or name, and the other end exists
// from the start.
func connectionPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	end := os.NewFile(uintptr(fds[0]), "wick")
	defer end.Close()
	theirs = os.NewFile(uintptr(fds[1]), "qemu")
	if ours, err = net.FileConn(end); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// wait waits for the end of the machine and cleans up.
func (m *Machine) wait() {
	exit := Exit{}
	select {
	case <-m.process.done:
	case <-m.kill:
		exit.Killed = true
		m.process.kill()
	}
	if exit.Killed && m.process.cmd.ProcessState.Exited() {
		exit.Killed = false // it ended first
	}
	m.cleanup()
	if state := m.process.cmd.ProcessState; !exit.Killed && !state.Success() {
		exit.Err = &MonitorError{
			filepath.Base(m.config.Choice.Program), state.String(),
			strings.Join(m.stderr.Lines(5), "\n"),
		}
	}
	exit.Panic = m.panicked()
	m.exit = exit
	close(m.done)
}

// cleanup removes everything except the monitor's process.
func (m *Machine) cleanup() {
	m.clean.Do(func() {
		if m.qmp != nil {
			m.qmp.Close()
		}
		if m.device != nil {
			m.device.Close()
		}
		if m.network != nil {
			m.network.Close()
		}
		if m.served != nil {
			<-m.served
		}
		for _, p := range m.fileServers {
			p.kill()
		}
		for _, path := range m.files {
			os.Remove(path)
		}
	})
}

// UDS returns the path of the Unix socket of the machine's vsock device, with Firecracker's
// conventions. The kernel's device has no such socket.
func (m *Machine) UDS() string { return m.config.file(vmm.FirecrackerVsock) }

// Addr returns the address of the guest's agent for framing/client.
func (m *Machine) Addr() string {
	if m.config.Choice.Backend == vmm.QEMUVhost {
		return "vsock:" + strconv.FormatUint(uint64(m.config.Spec.CID), 10)
	}
	return "firecracker-listen:" + m.UDS()
}

// Done is closed when the machine has ended and only the files of its drives are left.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Exit returns how the machine ended. It is valid once Done is closed.
func (m *Machine) Exit() Exit { return m.exit }

// Wait waits for the end of the machine.
func (m *Machine) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-m.done:
		return m.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for the machine's end: %w", ctx.Err())
	}
}

// Kill ends the machine like a power failure, and waits until everything of it is removed.
func (m *Machine) Kill() Exit {
	m.killed.Do(func() { close(m.kill) })
	<-m.done
	return m.exit
}

// ConsoleTail returns the last n lines of the console, or all kept lines if n is 0.
func (m *Machine) ConsoleTail(n int) []string { return m.console.Lines(n) }

// QMP returns QEMU's monitor, or nil for another backend.
func (m *Machine) QMP() *vmm.QMP { return m.qmp }

// CtrlAltDel presses Ctrl-Alt-Del. It wraps errors.ErrUnsupported if the machine has no keyboard
// that wick can reach.
func (m *Machine) CtrlAltDel(ctx context.Context) error {
	if m.qmp == nil || !m.config.Spec.Keyboard {
		return fmt.Errorf("press Ctrl-Alt-Del: %w", errors.ErrUnsupported)
	}
	return m.qmp.CtrlAltDel(ctx)
}

// Reset resets all vsock connections, like the restore of a snapshot. It wraps
// errors.ErrUnsupported if the backend cannot.
func (m *Machine) Reset() error {
	if m.device == nil {
		return fmt.Errorf("reset the vsock connections: %w", errors.ErrUnsupported)
	}
	m.device.ResetConnections()
	return nil
}

// Backend returns what the machine runs on.
func (m *Machine) Backend() string { return m.config.Choice.Backend }

// PID returns the monitor's process ID.
func (m *Machine) PID() int { return m.process.cmd.Process.Pid }

// Pause stops the machine's processors until Unpause.
func (m *Machine) Pause(ctx context.Context) (err error) {
	if m.qmp != nil {
		err = m.qmp.Do(ctx, "stop", nil, nil)
	} else {
		err = m.api.Pause(ctx)
	}
	if err != nil {
		return fmt.Errorf("pause the machine: %w", err)
	}
	return nil
}

// Unpause lets the processors of a paused machine go on.
func (m *Machine) Unpause(ctx context.Context) (err error) {
	if m.qmp != nil {
		err = m.qmp.Do(ctx, "cont", nil, nil)
	} else {
		err = m.api.Resume(ctx)
	}
	if err != nil {
		return fmt.Errorf("let the machine go on: %w", err)
	}
	return nil
}
