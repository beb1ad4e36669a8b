package machine

import (
	"context"
	"errors"
	"os"
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
	"wick/cmd/wick/internal/vmm"
	"wick/framing"
	"wick/framing/client"
)

// vmInit builds a vm-init from this module.
func vmInit(t *testing.T) string {
	t.Helper()
	machinetest.Boots(t)
	program, err := machinetest.Program(testContext(t), runtime.GOARCH, "wick/cmd/vm-init")
	path := filepath.Join(t.TempDir(), "vm-init")
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// recorder is a UI that keeps the events and can be waited on.
type recorder struct {
	mu     sync.Mutex
	events []Event
	at     map[Stage]func()
}

// all returns the events, in their order.
func (r *recorder) all() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	if do := r.at[e.Stage]; do != nil {
		do()
	}
}

func (r *recorder) last() Event { return r.events[len(r.events)-1] }

// command returns a Use that runs a command and sets its result.
func command(line string, result *client.Result) func(context.Context, *client.Client) error {
	return func(ctx context.Context, c *client.Client) error {
		r, err := c.Exec(ctx, client.Exec{Command: line})
		if err == nil {
			*result = *r
		}
		return err
	}
}

// options returns those of a run that leaves its directories in a place of its own, and the place.
func options(t *testing.T) (Options, string) {
	t.Helper()
	init := vmInit(t)
	dir, err := cache.Default()
	if err != nil {
		t.Skipf("%v: set HOME or XDG_CACHE_HOME", err)
	}
	temp := shortTemp(t)
	t.Setenv("TMPDIR", temp)
	return Options{Init: init, Cache: dir, VMM: vmm.QEMU}, temp
}

func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRun(t *testing.T) {
	prog, data, large := filepath.Join(t.TempDir(), "p"), filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "l")
	if err := errors.Join(os.WriteFile(prog, []byte("#!/bin/sh\necho prog runs\n"), 0o755), os.WriteFile(data, []byte("data\n"), 0o644),
		os.WriteFile(large, make([]byte, framing.MaxLength+1), 0o600)); err != nil {
		t.Fatal(err)
	}
	o, temp := options(t)
	line := "uname; /opt/prog; cat /opt/data; stat -c '%a %s' /opt/*; echo complaint >&2; exit 7"
	o.Puts = []Put{{prog, "/opt/prog"}, {data, "/opt/data"}, {large, "/opt/large"}}
	var result client.Result
	o.Use = command(line, &result)
	ui := &recorder{}
	err := Run(testContext(t), o, ui)
	machinetest.Need(t, err)
	if result.ExitCode != 7 || string(result.Stdout) != "Linux\nprog runs\ndata\n644 5\n644 16777217\n755 25\n" || string(result.Stderr) != "complaint\n" {
		t.Errorf("result %d %q %q", result.ExitCode, result.Stdout, result.Stderr)
	}
	for _, e := range ui.events {
		if e.Stage == Ready {
			t.Logf("ready in %v", e.Took)
		}
	}
	if ui.last().Stage != PoweringOff {
		t.Errorf("events %v", ui.events)
	}
	if names := left(t, temp); len(names) != 0 {
		t.Errorf("left %v", names)
	}
}

// TestRunWithoutShell powers off a guest with only one program. The shutdown needs no shell.
func TestRunWithoutShell(t *testing.T) {
	o, _ := options(t)
	busybox, err := image.Busybox(testContext(t), o.Cache, runtime.GOARCH)
	machinetest.Need(t, err)
	program, err := os.ReadFile(busybox)
	o.Rootfs = t.TempDir()
	if err := errors.Join(err, os.WriteFile(o.Rootfs+"/cat", program, 0o755), os.WriteFile(o.Rootfs+"/name", []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	var out []byte
	o.Use = func(ctx context.Context, c *client.Client) (err error) {
		out, err = c.Command("/cat", "/name").Output(ctx)
		return err
	}
	ui := &recorder{}
	if err := Run(testContext(t), o, ui); err != nil || string(out) != "mine" {
		t.Errorf("it says %q, %v", out, err)
	}
	for _, e := range ui.events {
		if e.Stage == Killed {
			t.Errorf("it did not go down in order: %s", e.Detail)
		}
	}
}

func TestRunInterrupted(t *testing.T) {
	for _, stage := range []Stage{Booting, Ready} {
		o, temp := options(t)
		o.Use = command("sleep 1000", &client.Result{})
		ctx, cancel := context.WithCancel(testContext(t))
		// Interrupt as soon as the stage begins: during the boot, and while the command runs.
		ui := &recorder{at: map[Stage]func(){stage: func() { time.AfterFunc(300*time.Millisecond, cancel) }}}
		began := time.Now()
		err := Run(ctx, o, ui)
		if !errors.Is(err, context.Canceled) {
			machinetest.Need(t, err)
			t.Errorf("stage %d: error %v, want that of the context", stage, err)
		}
		if names := left(t, temp); len(names) != 0 {
			t.Errorf("stage %d: left %v", stage, names)
		}
		t.Logf("stage %d: %v in all", stage, time.Since(began))
	}
}

func TestRunKeeps(t *testing.T) {
	o, temp := options(t)
	o.Use = command("true", &client.Result{})
	o.Keep = true
	ui := &recorder{}
	err := Run(testContext(t), o, ui)
	machinetest.Need(t, err)
	kept := ui.last()
	if kept.Stage != Kept || filepath.Dir(kept.Detail) != temp {
		t.Fatalf("events %v", ui.events)
	}
	if names := strings.Join(left(t, kept.Detail), " "); names != "console.log overlay.ext4" {
		t.Errorf("kept %s", names)
	}
}

// TestRunRefuses checks that an impossible run makes and fetches nothing.
func TestRunRefuses(t *testing.T) {
	for _, o := range []Options{
		{Init: "/i", Puts: []Put{{"/nonexistent", "/x"}}}, {Init: "/i", Puts: []Put{{os.TempDir(), "/x"}}}, {},
		{Init: "/i", Overlay: "/nonexistent"},
	} {
		o.Cache = cache.Dir(t.TempDir())
		ui := &recorder{}
		if err := Run(t.Context(), o, ui); err == nil || len(ui.events) != 0 {
			t.Errorf("%+v: error %v, events %v", o, err, ui.events)
		}
	}
}

// TestRunGivesUp has a monitor that never reports that it runs.
func TestRunGivesUp(t *testing.T) {
	program := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{BootLimit: 100 * time.Millisecond}
	config := Config{Dir: shortTemp(t), Spec: vmm.Spec{Kernel: "none", NoVsock: true}, Choice: vmm.Choice{Backend: vmm.QEMU, Program: program}}
	_, err := o.start(testContext(t), config, &recorder{})
	if boot, ok := errors.AsType[*BootError](err); !ok || !errors.Is(boot, context.DeadlineExceeded) || !strings.Contains(err.Error(), "within 100ms") {
		t.Errorf("got %v", err)
	}
}
