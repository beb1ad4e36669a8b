package vmm

import (
	"runtime"
	"strconv"
	"strings"
)

// Names of the backends.
const (
	Firecracker = "firecracker"
	QEMUVhost   = "qemu-vhost"
	QEMU        = "qemu"
)

// Drive is a disk of the machine. The first is /dev/vda, the second /dev/vdb and so on.
type Drive struct {
	Path     string
	ReadOnly bool
	// Durable has the guest's flushes reach the host's disk. QEMU passes them on in any case.
	Durable bool
}

// Spec is a machine, whoever runs it. The zero value of a field is the usual choice.
type Spec struct {
	// Arch is its architecture, by Go's name of it; the host's if "".
	Arch string
	// Kernel is a vmlinux, for QEMU also a bzImage, for arm64 an Image; Initramfs a cpio archive or "".
	Kernel, Initramfs string
	Drives            []Drive
	// MemoryMiB is 128 if 0, CPUs 1.
	MemoryMiB, CPUs int
	// Cmdline is added to the kernel's command line; what is there twice counts as it does for the kernel, mostly the last.
	Cmdline []string
	// Init is the program the kernel starts: in the initramfs if there is one, else in the first drive. "" is the
	// kernel's own choice, which for an initramfs is /init.
	Init string
	// InitArgs are init's arguments. A machine takes 32 in all, and none may hold a blank.
	InitArgs []string
	// Verbose has the kernel say all that it does, NoConsole takes the serial port away.
	Verbose, NoConsole bool
	// Keyboard gives QEMU's microvm a PS/2 keyboard, so that Ctrl-Alt-Del can be pressed; Firecracker's always has one.
	Keyboard bool
	// Balloon gives a QEMU machine a virtio-balloon, which QMP's balloon command inflates.
	Balloon bool
	// NoVsock leaves the vsock device out. CID is the guest's, 3 if 0.
	NoVsock bool
	CID     uint32
}

func (s *Spec) withDefaults() Spec {
	d := *s
	if d.Arch == "" {
		d.Arch = runtime.GOARCH
	}
	if d.MemoryMiB == 0 {
		d.MemoryMiB = 128
	}
	if d.CPUs == 0 {
		d.CPUs = 1
	}
	if d.CID == 0 {
		d.CID = 3
	}
	return d
}

// cmdline is the kernel's command line. What differs between backends, and the console's device, come in.
func (s *Spec) cmdline(console string, first ...string) string {
	words := first
	if s.NoConsole {
		// With none named the kernel would look for one and take a screen, which there is not either. Output then goes nowhere.
		words = append(words, "console=null", "8250.nr_uarts=0")
	} else {
		words = append(words, "console="+console)
	}
	// A panic ends the machine at once. The kernel's cryptography need not test itself for 0.2 s, and the processor's random
	// numbers are good for the start.
	words = append(words, "panic=-1", "cryptomgr.notests", "random.trust_cpu=on")
	words = append(words, memoryWords...)
	if !s.Verbose {
		words = append(words, "quiet")
	}
	if s.Init != "" {
		if s.Initramfs != "" {
			words = append(words, "rdinit="+s.Init)
		} else {
			words = append(words, "init="+s.Init)
		}
	}
	words = append(words, s.Cmdline...)
	if len(s.InitArgs) > 0 {
		words = append(append(words, "--"), s.InitArgs...)
	}
	return strings.Join(words, " ")
}

// memoryWords are for vm-init. PSI tells it of commands that wait for memory; Firecracker's kernels
// have it turned off. The Go runtime begins with a mapping of 32 MiB, which the kernel refuses by
// default in a machine that has less; vm-init brings the default back.
var memoryWords = []string{"psi=1", "sysctl.vm.overcommit_memory=1"}

func mib(n int) string { return strconv.Itoa(n) + "M" }
