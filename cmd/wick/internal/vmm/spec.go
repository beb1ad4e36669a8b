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
	// Durable makes the guest's flushes reach the host's disk. QEMU passes them on in any case.
	Durable bool
	// Serial is the drive's name in the guest, in QEMU alone. Firecracker makes up its own.
	Serial string
}

// Share is a directory of the host's that the guest can mount.
type Share struct {
	Path string
	// Tag is what the guest knows it by.
	Tag string
	// ReadOnly has QEMU refuse writes. A virtiofsd has to do so itself.
	ReadOnly bool
	// Socket is that of a virtiofsd. If it is "", the guest mounts the share as 9p.
	Socket string
}

// Spec describes a machine for any backend. The zero value of a field is the usual choice.
type Spec struct {
	// Arch is its architecture by Go's name; the host's if "".
	Arch string
	// Kernel is a vmlinux, for QEMU also a bzImage, for arm64 an Image. Initramfs is a cpio archive
	// or "".
	Kernel, Initramfs string
	Drives            []Drive
	// MemoryMiB is 128 if 0, CPUs 1.
	MemoryMiB, CPUs int
	// Cmdline is added to the kernel command line. The kernel mostly uses the last of several equal
	// parameters.
	Cmdline []string
	// Init is the program that the kernel starts: in the initramfs if there is one, else in the
	// first drive. If it is "", the kernel chooses, and an initramfs has /init.
	Init string
	// InitArgs are init's arguments, without spaces. A machine takes 32 words in all.
	InitArgs []string
	// Net is the network interface, or nil.
	Net *Net
	// Verbose makes the kernel log everything. NoConsole removes the serial port.
	Verbose, NoConsole bool
	// Keyboard gives QEMU's microvm a PS/2 keyboard for Ctrl-Alt-Del. Firecracker always has one.
	Keyboard bool
	// Balloon gives a QEMU machine a virtio-balloon, which QMP's balloon command inflates.
	Balloon bool
	// Shares are directories that a QEMU machine can mount.
	Shares []Share
	// HotPlug gives a QEMU machine a board with PCI, to whose ports plug0 and plug1 drives can be
	// added. So can processors up to four, and memory up to 1 GiB. Only amd64 has one.
	HotPlug bool
	// NoVsock leaves out the vsock device. CID is the guest's; 3 if 0.
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

// cmdline returns the kernel command line. The caller passes the console's device, and first what
// differs between backends.
func (s *Spec) cmdline(console string, first ...string) string {
	words := first
	if s.NoConsole {
		// Without a console= the kernel would look for one and take a screen, which does not exist
		// either. This discards its output.
		words = append(words, "console=null", "8250.nr_uarts=0")
	} else {
		words = append(words, "console="+console)
	}
	// A panic ends the machine at once. The kernel skips the 0.2 s self-test of its cryptography,
	// and the processor's random numbers seed its own.
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

// memoryWords are parameters for vm-init. PSI reports commands that wait for memory, and is off by
// default in Firecracker's kernels. The Go runtime begins with a mapping of 32 MiB. By default the
// kernel refuses it in a machine that has less. vm-init sets the default again.
var memoryWords = []string{"psi=1", "sysctl.vm.overcommit_memory=1"}

func mib(n int) string { return strconv.Itoa(n) + "M" }
