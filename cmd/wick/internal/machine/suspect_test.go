package machine

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// TestSuspect fails to boot machines in each way. The error names the setting that may be the
// reason, but none if the guest or the kernel has explained it.
func TestSuspect(t *testing.T) {
	crowded := vmm.Spec{CPUs: 8 * runtime.NumCPU()}
	for _, tt := range []struct {
		name, script string
		spec         vmm.Spec
		noKVM        string
		want         string // part of the error, or "" if the error is unchanged
	}{
		{"many processors", "exec sleep 60", crowded, "", "(--cpus)"},
		{"little memory", "exec sleep 60", vmm.Spec{MemoryMiB: 24}, "", "24 MiB of memory, which may be too little (--mem)"},
		{"little memory, it left", "exit 0", vmm.Spec{MemoryMiB: 24}, "", "(--mem)"},
		{"little memory, it panicked", "echo 'Kernel panic - not syncing: System is deadlocked on memory'", vmm.Spec{MemoryMiB: 64}, "", "(--mem)"},
		{"emulated", "exec sleep 60", vmm.Spec{}, "open /dev/kvm: permission denied", "/dev/kvm: permission denied"},
		{"the usual", "exec sleep 60", vmm.Spec{MemoryMiB: 128, CPUs: 1}, "", ""},
		{"another panic", "echo 'Kernel panic - not syncing: No init'", crowded, "no", ""},
		{"the monitor failed", "echo bad >&2; exit 1", crowded, "no", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			choice := fake(t, tt.script)
			choice.KVM, choice.NoKVM = tt.noKVM == "", tt.noKVM
			m, err := Start(testContext(t), Config{Spec: tt.spec, Choice: choice, Dir: socketDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Kill() })
			_, err = m.Dial(testContext(t), 500*time.Millisecond)
			boot, ok := errors.AsType[*BootError](err)
			if !ok {
				t.Fatalf("Dial: %v, want a BootError", err)
			}
			got := m.suspect(boot.Err)
			if !errors.Is(got, boot.Err) || !strings.Contains(got.Error(), tt.want) || tt.want == "" && got != boot.Err {
				t.Errorf("suspect(%v) = %v, want %q in it", boot.Err, got, tt.want)
			}
		})
	}
	said := &client.BootError{Message: "no overlay"}
	m := &Machine{config: Config{Spec: crowded}, done: make(chan struct{})}
	if got := m.suspect(said); got != error(said) {
		t.Errorf("suspect(%v) = %v, want it as it is", said, got)
	}
}

// TestFits has kernels of every size for machines of 8 MiB. A machine that cannot hold its kernel
// is refused.
func TestFits(t *testing.T) {
	dir := t.TempDir()
	initramfs := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(initramfs, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kernel    []byte
		initramfs string
		fits      bool
	}{
		{loads(4 << 20), "", true}, {loads(8 << 20), "", true}, {loads(9 << 20), "", false},
		{loads(4<<20, 3<<20), "", true}, {loads(4<<20, 3<<20), initramfs, false}, {loads(4<<20, 5<<20), "", false},
		{[]byte("no ELF"), initramfs, true}, // the monitor decides
	} {
		path := filepath.Join(dir, "kernel")
		if err := os.WriteFile(path, tt.kernel, 0o600); err != nil {
			t.Fatal(err)
		}
		err := fits(&vmm.Spec{Kernel: path, Initramfs: tt.initramfs, MemoryMiB: 8})
		if (err == nil) != tt.fits || err != nil && !strings.Contains(err.Error(), "--mem") {
			t.Errorf("fits(a kernel of %d bytes, initramfs %q) = %v, want it to fit: %v", len(tt.kernel), tt.initramfs, err, tt.fits)
		}
	}
}

// loads returns an ELF that loads segments of these sizes.
func loads(sizes ...uint64) []byte {
	var b bytes.Buffer
	h := elf.Header64{Type: 2, Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(sizes))}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	binary.Write(&b, binary.LittleEndian, h)
	for _, size := range sizes {
		binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Memsz: size})
	}
	return b.Bytes()
}

// TestFullHostDisk fills the host's disk under the overlay. The guest gets an I/O error and goes
// on, and the host's notice names the file.
func TestFullHostDisk(t *testing.T) {
	o, _ := options(t)
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=20m"); err != nil {
		t.Skipf("mount a tmpfs: %v: run as root", err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	o.Overlay = filepath.Join(small, "overlay")
	machinetest.Need(t, image.Overlay(testContext(t), o.Overlay, 64))
	var result client.Result
	o.Use = command("dd if=/dev/zero of=/full bs=1M count=50 conv=fsync; echo still here", &result)
	ui := &recorder{}
	if err := Run(testContext(t), o, ui); err != nil {
		t.Fatal(err)
	}
	if string(result.Stdout) != "still here\n" || !strings.Contains(string(result.Stderr), "I/O error") && !strings.Contains(string(result.Stderr), "Input/output error") {
		t.Errorf("the guest says %q, %q, want an I/O error", result.Stdout, result.Stderr)
	}
	var said []string
	for _, e := range ui.all() {
		if e.Stage == Notice && strings.Contains(e.Detail, o.Overlay) {
			said = append(said, e.Detail)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], "no space left on device") {
		t.Errorf("notices %q, want one with %s", said, o.Overlay)
	}
}

// TestEndHasLastWords loses the connection to a machine that ended. The error says how it ended,
// with its last output.
func TestEndHasLastWords(t *testing.T) {
	m := startFake(t, "echo '[ 1.0] Kernel panic - not syncing: crash'")
	lost := errors.New("lost")
	end, ok := errors.AsType[*EndError](m.explain(lost))
	if !ok || !errors.Is(end, lost) || end.Exit.Panic != "crash" || len(end.Console) != 1 {
		t.Errorf("explain(%v) = %+v, want the panic and one line", lost, end)
	}
}

// TestRunKillsTheUnresponsive has a Use that finds the guest unresponsive. The machine is killed
// without waiting.
func TestRunKillsTheUnresponsive(t *testing.T) {
	o, temp := options(t)
	o.Use = func(context.Context, *client.Client) error { return ErrUnresponsive }
	ui := &recorder{}
	err := Run(testContext(t), o, ui)
	if !errors.Is(err, ErrUnresponsive) {
		machinetest.Need(t, err)
		t.Errorf("Run = %v, want %v", err, ErrUnresponsive)
	}
	for _, e := range ui.all() {
		if e.Stage == PoweringOff {
			t.Error("it was asked to power off")
		}
	}
	if names := left(t, temp); len(names) != 0 {
		t.Errorf("left %v", names)
	}
}
