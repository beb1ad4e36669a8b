package vmm

import (
	"fmt"
	"strconv"
)

// QEMURun is what else QEMU has to be told.
type QEMURun struct {
	// KVM says whether to use it; TSCkHz is the rate of the host's time stamp counter, for when not.
	KVM    bool
	TSCkHz int
	// VhostSocket is where the vsock device of package vhostvsock listens. With "" it is the kernel's device, and VhostFD the descriptor
	// of /dev/vhost-vsock that QEMU inherits.
	VhostSocket string
	VhostFD     int
	// QMPFD is the descriptor of the monitor's connection that QEMU inherits; 0 for none.
	QMPFD int
}

// microvm's virtio-mmio slots, when its ACPI tables describe them. The first gets no interrupts (a device there hangs), and
// the guest finds the slots from the highest down.
const topSlot = 23

// QEMUArgs is QEMU's command line, without the program. The serial port is its standard output.
func QEMUArgs(spec *Spec, run QEMURun) []string {
	s := spec.withDefaults()
	machine := "microvm,acpi=on,rtc=on,pcie=off"
	var args []string
	add := func(a ...string) { args = append(args, a...) }
	// The back-end of a vhost-user device maps the guest's memory, so it must be a file that can be handed over.
	if run.VhostSocket != "" && !s.NoVsock {
		machine += ",memory-backend=mem"
		add("-object", "memory-backend-memfd,id=mem,share=on,size="+mib(s.MemoryMiB))
	}
	if s.NoConsole {
		machine += ",isa-serial=off"
	}
	add("-M", machine)
	first := []string{"reboot=t"}
	if run.KVM {
		add("-accel", "kvm", "-cpu", "host")
	} else {
		add("-accel", "tcg,thread=multi", "-cpu", "max")
		if run.TSCkHz > 0 {
			// Emulated, the kernel now and then fails to time the counter against the timer chip, and tries for ever.
			first = append(first, "tsc_early_khz="+strconv.Itoa(run.TSCkHz))
		}
	}
	add("-m", mib(s.MemoryMiB), "-smp", strconv.Itoa(s.CPUs))
	add("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
	if s.NoConsole {
		add("-serial", "none")
	} else {
		add("-serial", "stdio")
	}
	if run.QMPFD > 0 {
		add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", run.QMPFD), "-mon", "chardev=qmp,mode=control")
	}
	// The modern virtio interface, which vsock and Linux's ACPI probing need, is not microvm's default.
	add("-global", "virtio-mmio.force-legacy=false")
	slot := topSlot
	for i, d := range s.Drives {
		readonly := "off"
		if d.ReadOnly {
			readonly = "on"
		}
		add("-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,readonly=%s,file=%s", i, readonly, escape(d.Path)))
		add("-device", fmt.Sprintf("virtio-blk-device,drive=disk%d,bus=virtio-mmio-bus.%d", i, slot))
		slot--
	}
	switch bus := fmt.Sprintf("bus=virtio-mmio-bus.%d", slot); {
	case s.NoVsock:
	case run.VhostSocket != "":
		add("-chardev", "socket,id=vsock,path="+escape(run.VhostSocket), "-device", "vhost-user-vsock-device,chardev=vsock,"+bus)
	default:
		add("-device", fmt.Sprintf("vhost-vsock-device,guest-cid=%d,vhostfd=%d,%s", s.CID, run.VhostFD, bus))
	}
	if s.Keyboard {
		add("-device", "i8042")
	}
	add("-kernel", s.Kernel)
	if s.Initramfs != "" {
		add("-initrd", s.Initramfs)
	} else {
		first = append(first, "root=/dev/vda", "ro")
	}
	add("-append", s.cmdline(first...))
	return args
}

// escape doubles commas, which end a value in QEMU's options.
func escape(path string) string {
	var b []byte
	for i := range len(path) {
		if path[i] == ',' {
			b = append(b, ',')
		}
		b = append(b, path[i])
	}
	return string(b)
}
