package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// containerdEnv names a directory with containerd and ctr, to use instead of those that
// scripts/containerd builds.
const containerdEnv = "WICK_CONTAINERD"

// tools returns a directory with containerd, ctr, and a fresh build of this shim and vm-init.
var tools = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wick-shim-")
	if err != nil {
		return "", err
	}
	for _, program := range []string{"containerd-shim-wick-v1", "vm-init"} {
		cmd := exec.Command("go", "build", "-o", dir, "wick/cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	theirs := os.Getenv(containerdEnv)
	if theirs == "" {
		if theirs, err = builtContainerd(); err != nil {
			return dir, &missingError{err}
		}
	}
	for _, program := range []string{"containerd", "ctr"} {
		if err := os.Symlink(filepath.Join(theirs, program), filepath.Join(dir, program)); err != nil {
			return dir, err
		}
	}
	return dir, nil
})

// missingError is a tool that this host cannot have.
type missingError struct{ err error }

func (e *missingError) Error() string {
	return e.err.Error() + "; give a directory with containerd and ctr as " + containerdEnv
}

// builtContainerd returns where scripts/containerd has built containerd and ctr.
func builtContainerd() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile("testdata/containerd/go.mod")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(mod)
	dir := filepath.Join(base, "wick-containerd-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "ctr")); err == nil {
		return dir, nil
	}
	return "", errors.New("containerd is not built; run scripts/containerd once")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if host.dir != "" {
		host.stop()
		os.RemoveAll(host.dir)
	}
	if dir, _ := tools(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// daemon is a containerd in a directory of its own.
type daemon struct {
	dir, bin string
	wrap     []string // a command that executes containerd
	process  *exec.Cmd
	options  options // as the shim gets them
}

// host is the containerd of all tests.
var (
	host    daemon
	started sync.Once
	failure error
)

const testImage = "docker.io/library/box:1"

// containerd returns the containerd of the tests, or skips the test with the remedy.
func containerd(t *testing.T) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root; run the tests as root")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("no busybox for an image; apt-get install busybox-static")
	}
	started.Do(func() {
		var missing *missingError
		if host.bin, failure = tools(); failure == nil {
			failure = host.prepare()
		} else if !errors.As(failure, &missing) {
			t.Error(failure)
		}
	})
	var missing *missingError
	if errors.As(failure, &missing) {
		t.Skip(failure)
	}
	if failure != nil {
		t.Fatal(failure)
	}
	return &host
}

// prepare starts containerd, and imports the image.
func (d *daemon) prepare() (err error) {
	// The path of a socket is at most 107 bytes long.
	if d.dir, err = os.MkdirTemp("/tmp", "wick-"); err != nil {
		return err
	}
	d.options = options{namespace: "default", address: d.dir + "/c.sock"}
	config := fmt.Sprintf(`version = 3
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri"]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[plugins."io.containerd.internal.v1.opt"]
  path = %[5]q
[plugins."io.containerd.snapshotter.v1.blockfile"]
  root_path = %[6]q
  scratch_file = %[7]q
  fs_type = "ext4"
  mount_options = []
`, d.dir+"/root", d.dir+"/state", d.options.address, d.options.address+".ttrpc", d.dir+"/opt",
		d.dir+"/block", d.dir+"/scratch")
	scratch := fmt.Sprintf("truncate -s 64M %[1]s && mkfs.ext4 -q -O ^has_journal %[1]s", d.dir+"/scratch")
	if out, err := exec.Command("sh", "-c", scratch).CombinedOutput(); err != nil {
		return fmt.Errorf("make an ext4: %w: %s", err, out)
	}
	if err := os.WriteFile(d.dir+"/config.toml", []byte(config), 0o600); err != nil {
		return err
	}
	if err := d.start(); err != nil {
		return err
	}
	image, err := boxImage(testImage)
	if err == nil {
		err = os.WriteFile(d.dir+"/box.tar", image, 0o600)
	}
	if err != nil {
		return err
	}
	out, err := d.command(context.Background(), "image", "import", d.dir+"/box.tar").CombinedOutput()
	if err != nil {
		return fmt.Errorf("import an image: %w\n%s", err, out)
	}
	return nil
}

// start starts containerd, and waits until it serves.
func (d *daemon) start() error {
	log, err := os.OpenFile(d.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(slices.Clone(d.wrap), filepath.Join(d.bin, "containerd"), "-c", d.dir+"/config.toml")
	d.process = exec.Command(args[0], args[1:]...)
	d.process.Env = append(os.Environ(), "PATH="+d.bin+":"+os.Getenv("PATH"))
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		out, err := d.command(ctx, "version").CombinedOutput()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("start containerd: %w\n%s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stop kills containerd, which has no influence on containers.
func (d *daemon) stop() {
	if d.process != nil {
		d.process.Process.Kill()
		d.process.Wait()
	}
}

func (d *daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--address", d.options.address, "--connect-timeout", "10s"}, args...)
	return exec.CommandContext(ctx, filepath.Join(d.bin, "ctr"), args...)
}

// ctrLimit limits a command of ctr. A boot is emulated here.
const ctrLimit = 2 * time.Minute

// ctr runs ctr and returns its output, without its warnings, and the exit code.
func (d *daemon) ctr(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ctrLimit)
	defer cancel()
	cmd := d.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("ctr %q: %v", args, err)
	}
	var lines []string
	for line := range strings.Lines(errs.String()) {
		if !strings.Contains(line, "level=warning") {
			lines = append(lines, line)
		}
	}
	return out.String(), strings.Join(lines, ""), cmd.ProcessState.ExitCode()
}

// run runs a container to its end, and checks its exit code.
func (d *daemon) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	args = append([]string{"run", "--runtime", runtimeName, "--rm"}, args...)
	out, errs, got := d.ctr(t, "", args...)
	if got != code {
		t.Fatalf("ctr %q: exit code %d, want %d\nstdout %q\nstderr %q\n%s", args, got, code, out, errs, d.lastLog())
	}
	return out
}

// must runs ctr and wants success.
func (d *daemon) must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := d.ctr(t, "", args...)
	if code != 0 {
		t.Fatalf("ctr %q: exit code %d, want 0\nstdout %q\nstderr %q\n%s", args, code, out, errs, d.lastLog())
	}
	return out
}

// lastLog returns the end of containerd's log, which has the shims' too.
func (d *daemon) lastLog() string {
	b, _ := os.ReadFile(d.dir + "/log")
	lines := strings.Split(string(b), "\n")
	return "log:\n" + strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// status returns the state of a task, or "".
func (d *daemon) status(t *testing.T, id string) string {
	t.Helper()
	for line := range strings.Lines(d.must(t, "task", "ls")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == id {
			return f[2]
		}
	}
	return ""
}

// await waits until cond is true.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for limit := time.Now().Add(ctrLimit); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %v", what, ctrLimit)
		}
	}
}

// clean checks that nothing of a container is left.
func (d *daemon) clean(t *testing.T, id string) {
	t.Helper()
	o := d.options
	place := o.place(id)
	bundle := filepath.Join(d.dir, "state/io.containerd.runtime.v2.task/default", id)
	var left string
	defer func() {
		if left != "" {
			t.Logf("left of container %s:%s\n%s", id, left, d.lastLog())
		}
	}()
	await(t, "remove container "+id, func() bool {
		left = ""
		for _, dir := range []string{place, bundle} {
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				left += " " + dir
			}
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		if s := string(mounts); strings.Contains(s, place) || strings.Contains(s, bundle) {
			left += " a mount"
		}
		for _, pid := range processesOf(place, id) {
			left += fmt.Sprintf(" process %d", pid)
		}
		for _, other := range leftovers(place, bundle, id) {
			left += " " + other
		}
		return left == ""
	})
}

// processesOf returns the shim of a container and its monitor.
func processesOf(place, id string) (pids []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range list {
		b, _ := os.ReadFile(file)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		shim := strings.Contains(line, "containerd-shim-wick-v1 ") && strings.Contains(line, " -id "+id+" ")
		if shim || strings.Contains(line, place) {
			var pid int
			fmt.Sscanf(file, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// program returns the shim or the monitor of a container, or 0 if it does not run. A child that has
// not executed its program yet is not it.
func (d *daemon) program(id string, shim bool) int {
	o := d.options
	want := "qemu"
	if shim {
		want = "containerd-shim"
	}
	for _, pid := range processesOf(o.place(id), id) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.HasPrefix(string(name), want) {
			return pid
		}
	}
	return 0
}
