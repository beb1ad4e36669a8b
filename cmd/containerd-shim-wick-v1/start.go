package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	task "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// stateDir has a socket and a directory for each running shim. Its paths are short, because a
// socket's has at most 107 bytes.
const stateDir = "/var/lib/wick/shim"

// place returns the directory of a shim's socket and machine.
func (o *options) place(group string) string {
	sum := sha256.Sum256([]byte(o.address + "\x00" + o.namespace + "\x00" + group))
	return filepath.Join(stateDir, hex.EncodeToString(sum[:12]))
}

const (
	socketName  = "shim.sock"
	processName = "shim.pid"
)

// bootstrap tells containerd where the Task service is.
type bootstrap struct {
	Version  int    `json:"version"`
	Address  string `json:"address"`
	Protocol string `json:"protocol"`
}

// start starts a server, unless there is one: a container of a pod uses that of its sandbox.
func start(o *options, out io.Writer) error {
	spec, err := readSpec(o.bundle)
	if err != nil {
		return err
	}
	group := groupOf(spec, o.id)
	dir := o.place(group)
	socket := filepath.Join(dir, socketName)
	answer := func() error {
		return json.NewEncoder(out).Encode(bootstrap{3, "unix://" + socket, "ttrpc"})
	}
	if connects(socket) {
		return answer()
	}
	if group != o.id {
		return fmt.Errorf("find the shim of sandbox %s: it is not running", group)
	}
	confirm, err := startServer(o, dir, socket)
	if err == nil {
		err = answer()
	}
	if err == nil {
		_, err = confirm.Write([]byte{1})
	}
	if err != nil {
		sweepPlace(dir)
	}
	return err
}

func connects(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// startServer starts the server. Unless a byte is written to confirm, the server ends when this
// process ends, because containerd does not know of it then.
func startServer(o *options, dir, socket string) (confirm *os.File, err error) {
	if err := sweepPlace(dir); err != nil {
		return nil, err
	}
	sweepDead()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for containerd: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	confirmed, confirm, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer confirmed.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-namespace", o.namespace, "-id", o.id, "-address", o.address}
	if o.debug {
		args = append(args, "-debug")
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = o.bundle
	cmd.ExtraFiles = []*os.File{f, confirmed}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the shim: %w", err)
	}
	record := fmt.Sprintf("%d %s %s\n", cmd.Process.Pid, startTime(cmd.Process.Pid), o.bundle)
	if err := os.WriteFile(filepath.Join(dir, processName), []byte(record), 0o600); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, err
	}
	return confirm, nil
}

// startTime returns the time at which a process started, which tells it from a later one with the
// same number. It is "" without such a process.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name may have spaces and parentheses. The time is the 20th field behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// running returns the process ID of the shim of a place, and its bundle. known is false if there is
// no record of it, because it is being started.
func running(dir string) (pid int, bundle string, alive, known bool) {
	text, _ := os.ReadFile(filepath.Join(dir, processName))
	fields := strings.SplitN(strings.TrimSuffix(string(text), "\n"), " ", 3)
	if len(fields) != 3 {
		return 0, "", false, false
	}
	if pid, _ = strconv.Atoi(fields[0]); pid < 2 {
		return 0, "", false, false
	}
	// After a reboot another program may have the same number and time.
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	alive = startTime(pid) == fields[1] && strings.HasPrefix(string(name), "containerd-shim")
	return pid, fields[2], alive, true
}

// endLimit limits how long a killed shim and its monitor may take to end. containerd gives delete
// 5 s.
const endLimit = 3 * time.Second

// sweepPlace ends the server of a place, with its machine, and removes what they left.
func sweepPlace(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if pid, _, alive, _ := running(dir); alive {
		unix.Kill(pid, unix.SIGKILL) // the kernel kills its monitor
	}
	limit := time.Now().Add(endLimit)
	for time.Now().Before(limit) {
		if _, _, alive, _ := running(dir); !alive && !used(dir) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return removeTree(dir)
}

// used reports whether a monitor or virtiofsd of a place still exists. It is killed, but has its
// drives open until it has returned its memory.
func used(dir string) bool {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range list {
		line, _ := os.ReadFile(file)
		if !strings.Contains(string(line), dir+"/") {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		for _, program := range []string{"qemu", "firecracker", "virtiofsd"} {
			if strings.HasPrefix(string(name), program) {
				return true
			}
		}
	}
	return false
}

// sweepDead removes the places of shims that ended with the host.
func sweepDead() {
	dirs, _ := filepath.Glob(filepath.Join(stateDir, "*"))
	for _, dir := range dirs {
		if abandoned(dir) {
			removeTree(dir)
		}
	}
}

// abandoned reports whether the shim of a place is dead and no delete follows, because its bundle
// is gone.
func abandoned(dir string) bool {
	_, bundle, alive, known := running(dir)
	_, err := os.Stat(bundle)
	return known && !alive && errors.Is(err, fs.ErrNotExist)
}

// cleanUp removes what a killed shim left, and reports the exit to containerd.
func cleanUp(o *options, out io.Writer) error {
	group, network := o.id, ""
	spec, err := readSpec(o.bundle)
	if err == nil {
		group = groupOf(spec, o.id)
		network, _ = namespace(spec, specs.NetworkNamespace)
	}
	// A shim that was not killed has run the hooks.
	if _, gone := os.Stat(hooksFile(o.place(group), o.id)); gone == nil && spec != nil {
		c := &container{id: o.id, bundle: o.bundle, spec: spec}
		err := c.runHooks(context.Background(), poststop, specs.StateStopped, 0)
		if err != nil {
			fmt.Fprintf(os.Stderr, "clean up: %v\n", err) // containerd logs it
		}
	}
	if dir := o.place(group); group == o.id || !connects(filepath.Join(dir, socketName)) {
		if err := sweepPlace(dir); err != nil {
			fmt.Fprintf(os.Stderr, "clean up: %v\n", err)
		}
		if network != "" {
			leaveNetwork(network)
		}
	}
	unmountBelow(o.bundle)
	b, err := proto.Marshal(&task.DeleteResponse{
		ExitStatus: 128 + uint32(syscall.SIGKILL), ExitedAt: timestamppb.Now(),
	})
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}

// serve serves the Task service until containerd shuts it down.
func serve(ctx context.Context, o *options) error {
	debug.SetGCPercent(40)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2)
	}
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	spec, err := readSpec(o.bundle)
	if err != nil {
		return err
	}
	log := openLog(o)
	if os.Getenv("HOME") == "" && os.Getenv("XDG_CACHE_HOME") == "" {
		os.Setenv("XDG_CACHE_HOME", "/var/cache") // of root images and kernels
	}
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("inherit the socket: %w", err)
	}
	unix.CloseOnExec(3)
	confirmed := os.NewFile(4, "confirmed")
	unix.CloseOnExec(4)
	dir := o.place(groupOf(spec, o.id))
	events := newPublisher(o.events, o.namespace, log)
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := newService(ctx, o, dir, events, log, stop)
	go func() {
		if n, _ := confirmed.Read(make([]byte, 1)); n == 0 {
			log.Warn("end, because the start was not completed")
			stop()
		}
		confirmed.Close()
	}()
	task.RegisterTTRPCTaskService(server, s)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-ended: // the host goes down
			stop()
		case <-ctx.Done():
		}
	}()
	go func() {
		<-ctx.Done()
		s.close()
		events.close()
		limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(limit) != nil { // waits for replies
			server.Close()
		}
	}()
	if err := server.Serve(ctx, l); err != nil && !errors.Is(err, ttrpc.ErrServerClosed) &&
		!errors.Is(err, net.ErrClosed) {
		log.Error("serve", "error", err)
		stop()
	}
	<-ctx.Done()
	s.close()
	events.close()
	return nil
}

// openLog returns a logger to the FIFO from which containerd reads the shim's log. It drops what
// containerd does not read.
func openLog(o *options) *slog.Logger {
	var w io.Writer = io.Discard
	f, err := os.OpenFile(filepath.Join(o.bundle, "log"), os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err == nil {
		w = &dropping{f}
	}
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})).
		With("runtime", runtimeName, "id", o.id, "namespace", o.namespace)
}

// dropping writes to a FIFO, and drops what does not fit.
type dropping struct{ f *os.File }

func (d *dropping) Write(p []byte) (int, error) {
	d.f.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	d.f.Write(p)
	return len(p), nil
}
