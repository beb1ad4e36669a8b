package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

// initPath builds the vm-init of this module once.
var initPath = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	program, err := machinetest.Program(ctx, runtime.GOARCH, "wick/cmd/vm-init")
	if err != nil {
		return "", err
	}
	dir, err := cache.Default()
	if err != nil {
		return "", err
	}
	key := cache.NewKey("test-init", 2)
	key.Add(string(program))
	at, err := dir.Get(ctx, key.Name("test-init", ""), func(_ context.Context, tmp string) error {
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tmp, "vm-init"), program, 0o755)
	})
	return filepath.Join(at, "vm-init"), err
})

// InitForTest returns the path of a vm-init of this module. It skips the test if no machine can be
// booted here.
func InitForTest(t *testing.T) string {
	t.Helper()
	machinetest.Boots(t)
	init, err := initPath()
	machinetest.Need(t, err)
	return init
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// bootable returns the Config of machines that tests boot, and the directory of their directories.
// It skips the test if no machine can be booted here.
func bootable(t testing.TB) Config {
	t.Helper()
	machinetest.Boots(t)
	init, err := initPath()
	machinetest.Need(t, err)
	dir, err := os.MkdirTemp("", "wm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, _ := os.ReadDir(dir)
		for _, e := range left {
			t.Errorf("left %s", e.Name())
		}
		os.RemoveAll(dir)
	})
	return Config{Init: init, Dir: dir, VMM: "qemu", BootLimit: 3 * time.Minute, Progress: func(text string) { t.Log(text) }}
}

// boot boots a machine that the test's end kills.
func boot(t testing.TB, c Config) *Machine {
	t.Helper()
	m, err := Boot(testContext(t), c)
	machinetest.Need(t, err)
	t.Cleanup(m.Kill)
	return m
}

// run returns the output of a line of the shell in the guest.
func run(t testing.TB, m *Machine, line string) string {
	t.Helper()
	out, err := m.Client().ShellCommand(line).CombinedOutput(testContext(t))
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return strings.TrimSpace(string(out))
}

// TestBoot boots the small system with a further drive and options, and leads it through its life.
func TestBoot(t *testing.T) {
	t.Parallel()
	c := bootable(t)
	data := filepath.Join(t.TempDir(), "data")
	if err := image.Overlay(testContext(t), data, 16); err != nil {
		t.Fatal(err)
	}
	c.Drives = []Drive{{Path: data, Serial: "data"}}
	c.Options = "hostname=embedded\nmount=serial:data:/srv:ext4\ncommand-env=GREETING=good day\n"
	m := boot(t, c)
	if got, want := run(t, m, "hostname; echo $GREETING; grep -c ' /srv ' /proc/mounts"), "embedded\ngood day\n1"; got != want {
		t.Errorf("the guest says %q, want %q", got, want)
	}
	out, err := m.Command("/bin/echo", "a  b").Output(testContext(t))
	if string(out) != "a  b\n" || err != nil {
		t.Errorf("Command says %q, %v", out, err)
	}
	if _, err := m.Command("no-such-program").Run(testContext(t)); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Command of a missing program: %v, want exec.ErrNotFound", err)
	}
	if err := m.Pause(testContext(t)); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := m.Client().Ping(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a ping of the paused machine: %v, want that it takes too long", err)
	}
	if err := m.Unpause(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := m.Client().Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	monitor := fmt.Sprintf("/proc/%d", m.PID())
	if exe, err := os.Readlink(monitor + "/exe"); err != nil || m.VMM() != "qemu" || !strings.Contains(exe, "qemu") {
		t.Errorf("the monitor of %s is %s, %v", m.VMM(), exe, err)
	}
	run(t, m, "echo last words >/dev/console")
	if err := m.Stop(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(monitor); err == nil {
		t.Error("Stop left the monitor")
	}
	if !slices.Contains(m.Console(0), "last words") {
		t.Errorf("the console lacks what the guest wrote there: %q", m.Console(0))
	}
	if exit, err := m.Wait(testContext(t)); err != nil || exit != (Exit{}) {
		t.Errorf("Wait = %v, %v, want an orderly end", exit, err)
	}
	if err := m.Stop(testContext(t)); err != nil {
		t.Errorf("Stop of an ended machine: %v", err)
	}
}

// TestVolumes shares a directory with the guest, and gives it a file system in memory.
func TestVolumes(t *testing.T) {
	t.Parallel()
	c := bootable(t)
	c.Tmpfs = true
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/host", []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Volumes = []Volume{{Target: "/shared", Dir: dir}, {Target: "/scratch"}, {Target: "/fixed", Dir: dir, ReadOnly: true}}
	m := boot(t, c)
	if got := run(t, m, "cat /shared/host; echo of the guest >/shared/guest; grep -c ' /scratch tmpfs' /proc/mounts; touch /fixed/x || true"); !strings.HasPrefix(got, "of the host1\ntouch: ") {
		t.Errorf("the guest says %q", got)
	}
	if text, err := os.ReadFile(dir + "/guest"); string(text) != "of the guest\n" {
		t.Errorf("the guest has written %q, %v", text, err)
	}
}

// TestDrivesOnly boots from given drives in an order of their own, by the vm-init of the initramfs.
func TestDrivesOnly(t *testing.T) {
	t.Parallel()
	c := bootable(t)
	store, err := cache.Default()
	if err != nil {
		t.Fatal(err)
	}
	root, err := image.Build(testContext(t), store, runtime.GOARCH, "", c.Init)
	machinetest.Need(t, err)
	overlay := filepath.Join(t.TempDir(), "overlay")
	if err := image.Overlay(testContext(t), overlay, 16); err != nil {
		t.Fatal(err)
	}
	c.DrivesOnly = true
	c.Drives = []Drive{{Path: overlay}, {Path: root.Path, ReadOnly: true}}
	c.InitArgs = []string{"--base=/dev/vdb", "--overlay=/dev/vda", "--hostname=drives"}
	c.Options = "command-env=FROM=drive\n"
	m := boot(t, c)
	if got := run(t, m, "hostname; echo $FROM; echo kept >/kept; ls /sys/block"); !slices.Equal(strings.Fields(got), []string{"drives", "drive", "vda", "vdb", "vdc"}) {
		t.Errorf("the guest says %q", got)
	}
}
